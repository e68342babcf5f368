//! The worker's loop in this process, over pipes of bytes.

use crate::rig::{artifact, columns, series};
use vedette_detector_host::engine::Engine;
use vedette_detector_host::instance::{Code, Instance, Limits};
use vedette_detector_host::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use vedette_detector_host::worker::Worker;
use vedette_protocol::worker::{Fault, WorkerReply, WorkerRequest};

/// Answers to `requests`, as they come out of the pipe.
fn converse(requests: &[WorkerRequest]) -> Vec<WorkerReply> {
    let (mut input, mut output, mut buffer) = (Vec::new(), Vec::new(), Vec::new());
    for request in requests {
        wire::write(&mut input, request, REQUEST_BYTES_MAX, &mut buffer).unwrap();
    }
    let mut worker = Worker::new(Engine::new().unwrap(), || Ok(vec!["nothing".into()]));
    worker.run(&mut input.as_slice(), &mut output).unwrap();
    let mut output = output.as_slice();
    std::iter::from_fn(|| wire::read(&mut output, REPLY_BYTES_MAX, &mut buffer).unwrap()).collect()
}

fn load_request(detector: u32, name: &str) -> WorkerRequest {
    WorkerRequest::Load { detector, artifact: artifact(name).cwasm().to_vec(), parameters: Vec::new() }
}

fn observe(detector: u32) -> WorkerRequest {
    WorkerRequest::Observe { detector, tick: 7, columns: columns(3, 0) }
}

#[test]
fn every_request_has_one_answer_in_order() {
    let ids = vec![0, 1, 2];
    let replies = converse(&[
        load_request(4, "honest"),
        WorkerRequest::Seal,
        WorkerRequest::SeriesAdded { detector: 4, series: (0..3).map(series).collect() },
        observe(4),
        WorkerRequest::Explain { detector: 4, ids: ids.clone() },
        WorkerRequest::Snapshot { detector: 4, ids: ids.clone() },
        WorkerRequest::SeriesRemoved { detector: 4, ids },
    ]);
    assert!(matches!(&replies[0], WorkerReply::Loaded { detector: 4, description } if description.name == "honest"));
    assert_eq!(replies[1], WorkerReply::Sealed { confinement: vec!["nothing".into()] });
    assert_eq!(replies[2], WorkerReply::Added { detector: 4, declined: Vec::new() });
    assert!(matches!(&replies[3], WorkerReply::Scores { detector: 4, tick: 7, scores, .. } if scores.len() == 3));
    assert!(matches!(&replies[4], WorkerReply::Explanations { explanations, .. } if explanations.len() == 3));
    assert!(matches!(&replies[5], WorkerReply::Snapshots { states, .. } if states.len() == 3));
    assert_eq!(replies[6], WorkerReply::Done { detector: 4 });
}

#[test]
fn a_sealed_worker_takes_no_more_code() {
    let replies = converse(&[WorkerRequest::Seal, load_request(0, "honest"), observe(0)]);
    for reply in &replies[1..] {
        assert!(matches!(reply, WorkerReply::Failed { detector: 0, fault: Fault::Refused, .. }), "{reply:?}");
    }
}

#[test]
fn one_failure_is_told_as_often_as_it_is_asked_for_and_touches_nobody_else() {
    let replies = converse(&[load_request(0, "traps"), load_request(1, "honest"), observe(0), observe(0), observe(1)]);
    assert!(matches!(&replies[2], WorkerReply::Failed { detector: 0, fault: Fault::Trap, .. }));
    assert_eq!(replies[2], replies[3]);
    assert!(matches!(&replies[4], WorkerReply::Scores { detector: 1, .. }));
}

#[test]
fn a_chatty_detector_is_heard_briefly_and_without_control_characters() {
    let limits = Limits::default();
    let loaded = Instance::load(&Engine::new().unwrap(), Code::verified(artifact("chatty")), &[], limits);
    let (mut instance, _) = loaded.unwrap();
    instance.observe(&columns(3, 0), &mut Vec::new()).unwrap();
    let (lines, dropped) = instance.take_log();
    assert_eq!((lines.len(), dropped as usize), (limits.log_lines, 100 - limits.log_lines));
    assert_eq!((lines[0].level, lines[0].message.as_str()), (1, "alpha [31m beta"));
}

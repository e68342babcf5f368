//! What others send: protobuf by hand, as their own libraries write it.

use super::input::{Minute, Series};
use std::collections::BTreeMap;
use std::io::Write;

type Encode = fn(&Minute) -> Vec<u8>;
type Compress = fn(Vec<u8>) -> Vec<u8>;

pub(crate) const FORMATS: [(&str, Encode); 3] =
    [("OTLP", otlp), ("remote write 1", remote_write_1), ("remote write 2", remote_write_2)];
pub(crate) const COMPRESSIONS: [(&str, Compress); 3] = [("", |bytes| bytes), ("snappy", snappy), ("zstd", zstd_3)];

const RESOURCE: [(&str, &str); 6] = [
    ("host.name", "edge-0421.plant-7.example"),
    ("host.id", "3f1c7c1e9d7a4a2f8f3c0e6a52b1d9aa"),
    ("host.arch", "amd64"),
    ("os.type", "linux"),
    ("service.name", "edge-agent"),
    ("service.version", "0.1.0"),
];
const TARGET: [(&str, &str); 2] = [("instance", "edge-0421.plant-7.example:9100"), ("job", "node")];

fn snappy(bytes: Vec<u8>) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&bytes).expect("far below snappy's limit")
}

fn zstd_3(bytes: Vec<u8>) -> Vec<u8> {
    zstd::bulk::compress(&bytes, 3).expect("memory to memory")
}

/// Bytes per message, the first aside, if all go through one compression that remembers those before.
pub(crate) fn one_stream(messages: &[Vec<u8>]) -> f64 {
    let mut stream = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("memory to memory");
    let mut sizes = Vec::new();
    for message in messages {
        let before = stream.get_ref().len();
        stream.write_all(message).and_then(|()| stream.flush()).expect("memory to memory");
        sizes.push(stream.get_ref().len() - before);
    }
    let later = sizes.get(1..).unwrap_or_default();
    later.iter().sum::<usize>() as f64 / later.len().max(1) as f64
}

fn varint(mut number: u64, out: &mut Vec<u8>) {
    while number > 127 {
        out.push(number.to_le_bytes()[0] | 128);
        number >>= 7;
    }
    out.push(number.to_le_bytes()[0]);
}

fn bytes_field(field: u64, bytes: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | 2, out);
    varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn message(field: u64, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    fill(&mut inner);
    bytes_field(field, &inner, out);
}

fn varint_field(field: u64, number: u64, out: &mut Vec<u8>) {
    varint(field << 3, out);
    varint(number, out);
}

fn fixed_field(field: u64, bytes: [u8; 8], out: &mut Vec<u8>) {
    varint(field << 3 | 1, out);
    out.extend(bytes);
}

fn attribute(field: u64, key: &str, value: &str, out: &mut Vec<u8>) {
    message(field, out, |out| {
        bytes_field(1, key.as_bytes(), out);
        message(2, out, |out| bytes_field(1, value.as_bytes(), out));
    });
}

/// Points of one metric stand together, tick by tick.
fn otlp(minute: &Minute) -> Vec<u8> {
    let start_ns = (minute.times_ms[0] - 3_600_000).unsigned_abs() * 1_000_000;
    let mut metrics: Vec<(&Series, Vec<u8>)> = Vec::new();
    for (tick, ms) in minute.times_ms.iter().enumerate() {
        for series in &minute.series {
            let at = metrics.iter().position(|(first, _)| first.name == series.name).unwrap_or_else(|| {
                metrics.push((series, Vec::new()));
                metrics.len() - 1
            });
            message(1, &mut metrics[at].1, |out| {
                if series.is_counter {
                    fixed_field(2, start_ns.to_le_bytes(), out);
                }
                fixed_field(3, (ms.unsigned_abs() * 1_000_000).to_le_bytes(), out);
                let value = series.values[tick];
                #[expect(clippy::cast_possible_truncation, reason = "whole readings of a host are below 2^53")]
                let bytes = if series.is_integer { (value as i64).to_le_bytes() } else { value.to_le_bytes() };
                fixed_field(if series.is_integer { 6 } else { 4 }, bytes, out);
                series.labels.iter().for_each(|(key, value)| attribute(7, key, value, out));
            });
        }
    }
    let mut request = Vec::new();
    message(1, &mut request, |out| {
        message(1, out, |out| RESOURCE.iter().for_each(|(key, value)| attribute(1, key, value, out)));
        message(2, out, |out| {
            message(1, out, |out| {
                bytes_field(1, b"edge-agent/host", out);
                bytes_field(2, b"0.1.0", out);
            });
            for (series, points) in &metrics {
                message(2, out, |out| metric(series, points, out));
            }
        });
    });
    request
}

fn metric(series: &Series, points: &[u8], out: &mut Vec<u8>) {
    bytes_field(1, series.name.as_bytes(), out);
    let units = [("_bytes", "By"), ("_seconds_total", "s")];
    if let Some((_, unit)) = units.iter().find(|(suffix, _)| series.name.ends_with(suffix)) {
        bytes_field(3, unit.as_bytes(), out);
    }
    message(if series.is_counter { 7 } else { 5 }, out, |out| {
        out.extend_from_slice(points);
        if series.is_counter {
            varint_field(2, 2, out);
            varint_field(3, 1, out);
        }
    });
}

fn labels(series: &Series) -> BTreeMap<&str, &str> {
    let own = series.labels.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    own.chain(TARGET).chain([("__name__", series.name.as_str())]).collect()
}

fn samples(minute: &Minute, series: &Series, out: &mut Vec<u8>) {
    for (ms, value) in minute.times_ms.iter().zip(&series.values) {
        message(2, out, |out| {
            fixed_field(1, value.to_le_bytes(), out);
            varint_field(2, ms.unsigned_abs(), out);
        });
    }
}

fn remote_write_1(minute: &Minute) -> Vec<u8> {
    let mut request = Vec::new();
    for series in &minute.series {
        message(1, &mut request, |out| {
            for (key, value) in labels(series) {
                message(1, out, |out| {
                    bytes_field(1, key.as_bytes(), out);
                    bytes_field(2, value.as_bytes(), out);
                });
            }
            samples(minute, series, out);
        });
    }
    request
}

fn remote_write_2(minute: &Minute) -> Vec<u8> {
    let (mut symbols, mut body) = (vec![String::new()], Vec::new());
    let mut symbol = |text: &str| {
        let at = symbols.iter().position(|known| known == text).unwrap_or_else(|| {
            symbols.push(text.to_owned());
            symbols.len() - 1
        });
        at as u64
    };
    for series in &minute.series {
        message(5, &mut body, |out| {
            let mut references = Vec::new();
            for (key, value) in labels(series) {
                varint(symbol(key), &mut references);
                varint(symbol(value), &mut references);
            }
            bytes_field(1, &references, out);
            samples(minute, series, out);
            message(5, out, |out| varint_field(1, if series.is_counter { 1 } else { 2 }, out));
        });
    }
    let mut request = Vec::new();
    symbols.iter().for_each(|symbol| bytes_field(4, symbol.as_bytes(), &mut request));
    request.extend(body);
    request
}

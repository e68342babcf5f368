//! A detector as a native program: frames on its standard input and output, as `vedette_sdk::native` documents them.

use super::runner::Runner;
use anyhow::{Context as _, bail, ensure};
use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use vedette_protocol::worker::{Columns, SeriesDescriptor, SeriesState};

const CONFIGURE: u8 = 1;
const ADD: u8 = 2;
const OBSERVE: u8 = 3;
const SNAPSHOT: u8 = 4;
const RESTORE: u8 = 5;
const TIME: u8 = 6;
const ANSWER_BYTES_MAX: usize = 16 << 20;

pub(crate) struct Native {
    child: Child,
    input: Option<ChildStdin>,
    output: ChildStdout,
    declined: HashSet<u32>,
}

impl Native {
    pub(crate) fn start(program: &Path, parameters: &[(String, f64)]) -> anyhow::Result<Self> {
        let mut command = Command::new(program);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = spawned.with_context(|| format!("{} could not be started", program.display()))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a pipe was asked for")?;
        let mut native = Self { child, input, output, declined: HashSet::new() };
        let mut payload = Vec::new();
        payload.extend(length(parameters.len())?);
        for (name, value) in parameters {
            text(&mut payload, name)?;
            payload.extend(value.to_le_bytes());
        }
        native.ask(CONFIGURE, &payload)?;
        Ok(native)
    }

    fn ask(&mut self, operation: u8, payload: &[u8]) -> anyhow::Result<Vec<u8>> {
        let input = self.input.as_mut().context("the native program has ended")?;
        input.write_all(&[&[operation], length(payload.len())?.as_slice(), payload].concat())?;
        input.flush()?;
        let mut head = [0; 5];
        self.output.read_exact(&mut head).context("the native program gave no answer")?;
        let len = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        ensure!(len <= ANSWER_BYTES_MAX, "the native program's answer of {len} bytes is too long");
        let mut answer = vec![0; len];
        self.output.read_exact(&mut answer)?;
        ensure!(head[0] == 0, "the native program refused: {}", String::from_utf8_lossy(&answer));
        Ok(answer)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Runner for Native {
    fn add(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<()> {
        for one in series {
            let mut payload = Vec::new();
            payload.extend(one.id.to_le_bytes());
            payload.extend(one.key.0.to_le_bytes());
            text(&mut payload, &one.meta.metric)?;
            text(&mut payload, &one.meta.unit)?;
            payload.push(one.meta.kind as u8);
            payload.extend(length(one.meta.attributes.len())?);
            for (name, value) in &one.meta.attributes {
                text(&mut payload, name)?;
                text(&mut payload, value)?;
            }
            payload.extend(one.interval_ms.to_le_bytes());
            for number in [one.meta.resolution, one.meta.lower, one.meta.upper] {
                payload.extend(number.to_le_bytes());
            }
            match self.ask(ADD, &payload)?.as_slice() {
                [0] => _ = self.declined.remove(&one.id),
                [1] => _ = self.declined.insert(one.id),
                answer => bail!("{answer:?} says neither that a series is taken nor that it is declined"),
            }
        }
        Ok(())
    }

    fn observe(&mut self, columns: &Columns) -> anyhow::Result<(Vec<f32>, Option<u64>)> {
        let mut payload = length(columns.ids.len())?.to_vec();
        columns.ids.iter().for_each(|id| payload.extend(id.to_le_bytes()));
        columns.dt_ms.iter().for_each(|dt_ms| payload.extend(dt_ms.to_le_bytes()));
        payload.extend(&columns.flags);
        columns.values.iter().for_each(|value| payload.extend(value.to_le_bytes()));
        let answer = self.ask(OBSERVE, &payload)?;
        let (scores, rest) = answer.as_chunks();
        ensure!(rest.is_empty() && scores.len() == columns.ids.len(), "{} bytes are not a score a value", answer.len());
        let scores = scores.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        let time = self.ask(TIME, &[])?;
        let time: [u8; 8] = time.try_into().ok().context("a time has eight bytes")?;
        Ok((scores, Some(u64::from_le_bytes(time))))
    }

    fn snapshot(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<Vec<SeriesState>> {
        let state = |one: &SeriesDescriptor| {
            let declined = self.declined.contains(&one.id);
            let state = if declined { Vec::new() } else { self.ask(SNAPSHOT, &one.id.to_le_bytes())? };
            Ok(SeriesState { key: one.key, state })
        };
        series.iter().map(state).collect()
    }

    fn restore(&mut self, series: &[SeriesDescriptor], states: &[SeriesState]) -> anyhow::Result<()> {
        for (one, state) in series.iter().zip(states) {
            if !self.declined.contains(&one.id) {
                self.ask(RESTORE, &[one.id.to_le_bytes().as_slice(), &state.state].concat())?;
            }
        }
        Ok(())
    }
}

fn length(length: usize) -> anyhow::Result<[u8; 4]> {
    Ok(u32::try_from(length).context("longer than a frame can say")?.to_le_bytes())
}

fn text(payload: &mut Vec<u8>, text: &str) -> anyhow::Result<()> {
    payload.extend(length(text.len())?);
    payload.extend(text.as_bytes());
    Ok(())
}

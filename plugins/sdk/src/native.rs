//! Runs a detector as a native program over the same columns, for comparison with its module.
//!
//! Frames on standard input and output, little-endian: operation or status (1 byte), length of the payload (4), payload.
//! Text is a length (4 bytes) and UTF-8. Operations:
//!
//! | operation | payload | answer |
//! |---|---|---|
//! | 1 configure | count, then name and value of each | empty |
//! | 2 add | id, key, metric, unit, kind (1 byte), count and name and value of attributes, interval-ms, resolution, lower, upper | 1 byte: 1 if it is declined, 0 otherwise |
//! | 3 observe | count, ids, dt-ms, flags, values | scores |
//! | 4 snapshot | id | state |
//! | 5 restore | id, then the state | empty |
//! | 6 time | empty | nanoseconds that the last observe took, without its frame |
//!
//! Status 0 is an answer, 1 a refusal with its text. The end of the input ends the program.

use crate::detector::{Detector, Kind, Series};
use crate::instance::{Columns, Instance};
use crate::state::{Damaged, Reader, Writer};
use std::io::{self, Read, Write};
use std::process::ExitCode;

/// A frame beyond this is refused.
const FRAME_BYTES_MAX: u32 = 16 << 20;

/// The body of a native program's `main`.
pub fn run<D: Detector>() -> ExitCode {
    match serve::<D>(&mut io::stdin().lock(), &mut io::stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", D::describe().name);
            ExitCode::FAILURE
        }
    }
}

/// Answers frames until the input ends.
///
/// # Errors
///
/// Fails when a stream does, or on a frame that is too long.
pub fn serve<D: Detector>(input: &mut impl Read, output: &mut impl Write) -> io::Result<()> {
    let mut instance = Instance::<D>::new(&[]).map_err(|refusal| io::Error::other(refusal.message))?;
    let mut observe_ns = 0;
    let mut head = [0; 5];
    while read_head(input, &mut head)? {
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        if length > FRAME_BYTES_MAX {
            return Err(io::Error::other(format!("a frame of {length} bytes is too long")));
        }
        let mut payload = vec![0; length as usize];
        input.read_exact(&mut payload)?;
        let (status, answer) = match answer(&mut instance, &mut observe_ns, head[0], &mut Reader::new(&payload)) {
            Ok(answer) => (0, answer),
            Err(refusal) => (1, refusal.into_bytes()),
        };
        output.write_all(&[status])?;
        output.write_all(&u32::try_from(answer.len()).map_err(io::Error::other)?.to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

/// False at a clean end of the input.
fn read_head(input: &mut impl Read, head: &mut [u8; 5]) -> io::Result<bool> {
    if input.read(&mut head[..1])? == 0 {
        return Ok(false);
    }
    input.read_exact(&mut head[1..])?;
    Ok(true)
}

fn answer<D: Detector>(
    instance: &mut Instance<D>,
    observe_ns: &mut u64,
    operation: u8,
    input: &mut Reader<'_>,
) -> Result<Vec<u8>, String> {
    let short = |_: Damaged| "the frame is too short or damaged".to_string();
    match operation {
        1 => {
            let parameters = read_list(input, |input| Ok((text(input)?, input.f64()?))).map_err(short)?;
            *instance = Instance::new(&parameters).map_err(|refusal| refusal.message)?;
            Ok(Vec::new())
        }
        2 => {
            let (id, series) = series(input).map_err(short)?;
            Ok(vec![u8::from(!instance.add(id, &series, &[]))])
        }
        3 => observe(instance, observe_ns, input).map_err(short),
        4 => {
            let id = input.u32().map_err(short)?;
            let (_, state) = instance.snapshot(&[id]).pop().ok_or("unknown column")?;
            Ok(state)
        }
        5 => {
            let id = input.u32().map_err(short)?;
            instance.restore([(id, input.rest())].into_iter()).map_err(|refusal| refusal.message)?;
            Ok(Vec::new())
        }
        6 => Ok(observe_ns.to_le_bytes().to_vec()),
        _ => Err(format!("there is no operation {operation}")),
    }
}

fn observe<D: Detector>(
    instance: &mut Instance<D>,
    observe_ns: &mut u64,
    input: &mut Reader<'_>,
) -> Result<Vec<u8>, Damaged> {
    let count = input.u32()?;
    if count > FRAME_BYTES_MAX / 17 {
        return Err(Damaged);
    }
    let ids: Vec<u32> = (0..count).map(|_| input.u32()).collect::<Result<_, _>>()?;
    let dt_ms: Vec<u32> = (0..count).map(|_| input.u32()).collect::<Result<_, _>>()?;
    let flags: Vec<u8> = (0..count).map(|_| input.u8()).collect::<Result<_, _>>()?;
    let values: Vec<f64> = (0..count).map(|_| input.f64()).collect::<Result<_, _>>()?;
    input.finish()?;
    let began = std::time::Instant::now();
    let scores = instance.observe(Columns { ids: &ids, dt_ms: &dt_ms, flags: &flags, values: &values });
    *observe_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let mut out = Writer::new();
    out.f32s(&scores);
    Ok(out.finish())
}

fn series(input: &mut Reader<'_>) -> Result<(u32, Series), Damaged> {
    let id = input.u32()?;
    let series = Series {
        key: input.u64()?,
        metric: text(input)?,
        unit: text(input)?,
        kind: match input.u8()? {
            0 => Kind::Gauge,
            1 => Kind::Rate,
            _ => Kind::Count,
        },
        attributes: read_list(input, |input| Ok((text(input)?, text(input)?)))?,
        interval_ms: input.u32()?,
        resolution: input.f64()?,
        lower: input.f64()?,
        upper: input.f64()?,
    };
    input.finish()?;
    Ok((id, series))
}

fn read_list<T>(
    input: &mut Reader<'_>,
    mut item: impl FnMut(&mut Reader<'_>) -> Result<T, Damaged>,
) -> Result<Vec<T>, Damaged> {
    let count = input.u32()?;
    (0..count).map(|_| item(input)).collect()
}

fn text(input: &mut Reader<'_>) -> Result<String, Damaged> {
    let length = input.u32()?;
    let bytes = input.bytes(length as usize)?;
    String::from_utf8(bytes.to_vec()).map_err(|_| Damaged)
}

//! What a fault has done to a run, as figures, and the line that they are printed as.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use safetensors::SafeTensors;
use serde_json::{Value, json};
use shared::adapter::peft::TENSORS_FILE;
use tests::daemon::Usage;
use tests::http;

use crate::durable::json as get;

/// What is printed of one fault.
#[derive(Debug, Default)]
pub struct Row {
    /// Its name.
    pub fault: &'static str,
    /// What happened, for people.
    pub what: String,
    /// How often it struck.
    pub struck: usize,
    /// Acknowledged examples that a run did not have.
    pub lost: u64,
    /// Steps that were taken again on top of themselves.
    pub twice: u64,
    /// Largest difference to the adapter of the undisturbed run.
    pub difference: f32,
    /// What that may be: 0 for a run alone, the rounding of sums where others ran beside it.
    pub difference_max: f32,
    /// What the daemon used: before, at most, after. Only where that is the point.
    pub used: Option<[Usage; 3]>,
    /// What clients were told, and how many.
    pub told: BTreeMap<String, usize>,
}

impl Row {
    /// Prints the line, then holds the figures to what is promised.
    pub fn show(&self) {
        let Self {
            fault,
            what,
            struck,
            lost,
            twice,
            difference,
            difference_max,
            used,
            told,
        } = self;
        let used = used.map(|used| {
            let of = |value: fn(Usage) -> u64| used.map(value);
            json!({ "rss_bytes": of(|it| it.rss_bytes), "files": of(|it| it.files as u64) })
        });
        let is_clean = *lost == 0 && *twice == 0 && difference <= difference_max && *struck > 0;
        // JSON has no infinity.
        let difference = difference.is_finite().then_some(*difference);
        let line = json!({
            "fault": fault, "what": what, "struck": struck, "lost": lost, "twice": twice,
            "difference": difference, "used": used, "told": told, "is_clean": is_clean,
        });
        #[allow(clippy::print_stdout, reason = "xtask makes a document of these lines")]
        {
            println!("\n{line}");
        }
        assert!(is_clean, "{self:?}");
    }
}

/// The most of everything.
pub fn most(one: Usage, other: Usage) -> Usage {
    Usage {
        rss_bytes: one.rss_bytes.max(other.rss_bytes),
        files: one.files.max(other.files),
    }
}

/// The largest difference of two adapters' numbers; infinite where they are not of the same shapes.
pub fn difference(expected: &[u8], actual: &[u8]) -> f32 {
    if expected == actual {
        return 0.0;
    }
    let (expected, actual) = (read(expected), read(actual));
    if !expected.keys().eq(actual.keys()) {
        return f32::INFINITY;
    }
    let pairs = expected.values().zip(actual.values());
    let largest = pairs.map(|(one, other)| {
        if one.len() != other.len() {
            return f32::INFINITY;
        }
        let differences = one.iter().zip(other).map(|(a, b)| (a - b).abs());
        // A number that is none is not the same.
        differences.fold(0.0, |most, it| {
            if it.is_nan() {
                f32::INFINITY
            } else {
                it.max(most)
            }
        })
    });
    largest.fold(0.0, f32::max)
}

/// The matrices of a safetensors file of f32.
fn read(bytes: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let numbers = |data: &[u8]| -> Vec<f32> {
        let numbers = data.chunks_exact(4);
        let number = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
        numbers.map(number).collect()
    };
    let tensors = file.tensors().into_iter();
    tensors
        .map(|(name, tensor)| (name, numbers(tensor.data())))
        .collect()
}

/// Steps of a job's log that were taken again on top of themselves. What was taken behind the step
/// of a checkpoint went with its process: a run that goes on there takes it for the first time.
pub fn applied_twice(events: &[Value]) -> u64 {
    let (mut last, mut twice) = (0, 0);
    for event in events {
        let step = || event["data"]["step"].as_u64().unwrap();
        match event["kind"].as_str() {
            Some("resumed") => last = step(),
            Some("step") if step() <= last => twice += 1,
            Some("step") => last = step(),
            _ => {}
        }
    }
    twice
}

/// The adapter that a job has left, by HTTP; none where there is none.
pub async fn adapter_of(addr: SocketAddr, job: &str) -> Option<Vec<u8>> {
    let page = get(addr, "/v1/adapters").await;
    let mut adapters = page["adapters"].as_array().unwrap().iter();
    let kept = adapters.find(|adapter| adapter["job"] == job)?;
    let id = kept["id"].as_str().unwrap();
    let path = format!("/v1/adapters/{id}/files/{TENSORS_FILE}");
    let answer = http::get(addr, &path, &[]).await.unwrap();
    assert_eq!(answer.status, 200);
    Some(answer.body)
}

/// Acknowledged examples that a job does not have.
pub fn lost(job: &Value, acknowledged: u64) -> u64 {
    let count = |split: &str| job["examples"][split].as_u64().unwrap();
    acknowledged.saturating_sub(count("train") + count("validation"))
}

#[test]
fn a_step_is_taken_twice_only_where_nothing_was_lost() {
    let step = |step: u64| json!({ "kind": "step", "data": { "step": step } });
    let resumed = json!({ "kind": "resumed", "data": { "step": 2 } });
    let log = [step(1), step(2), step(3), resumed, step(3), step(4)];
    assert_eq!(applied_twice(&log), 0);
    let log = [step(1), step(2), step(2), step(1), step(3)];
    assert_eq!(applied_twice(&log), 2);
}

#[test]
fn adapters_differ_by_their_numbers() {
    use safetensors::Dtype;
    use safetensors::tensor::TensorView;
    let file = |numbers: &[f32]| {
        let bytes: Vec<u8> = numbers.iter().flat_map(|it| it.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![numbers.len()], &bytes).unwrap();
        safetensors::serialize([("a", view)], None).unwrap()
    };
    let whole = file(&[1.0, 2.0]);
    assert_eq!(difference(&whole, &whole), 0.0);
    assert_eq!(difference(&whole, &file(&[1.0, 1.5])), 0.5);
    assert_eq!(difference(&whole, &file(&[1.0])), f32::INFINITY);
    assert_eq!(difference(&whole, &file(&[1.0, f32::NAN])), f32::INFINITY);
}

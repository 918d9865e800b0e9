//! The client's library against a real daemon through a network that fails at every message in
//! turn: the run is the one that nobody disturbed, bit for bit.

use client_wasm::client::Answer;
use client_wasm::error::ClientError;
use client_wasm::events::Event;
use client_wasm::options::{Bottom, LabelsAt, TrainOptions};
use client_wasm::seed::Seed;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use shared::protocol::message::{DoneReason, RefusalCode};
use shared::text::RawText;
use tests::{CuttingProxy, Direction, Disturbance, Fault, Options, TestServer};

use super::{LONG, waiting};
use crate::durable::{ended, events};
use crate::faults::figures::{adapter_of, applied_twice, difference};
use crate::pipeline::{Person, ROWS};

const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// More messages than any of these runs has in one direction.
const MESSAGES_MAX: usize = 200;

/// What a run came to.
#[derive(PartialEq)]
struct Run {
    /// Step and loss, as they were reported.
    steps: Vec<(u32, f32)>,
    /// Step, loss and confusion matrix.
    validations: Vec<(u32, f32, Vec<u32>)>,
    answers: Vec<Answer>,
}

/// A run, and what the network did to it.
struct Ran {
    run: Result<Run, ClientError>,
    /// Of the server's jobs.
    jobs: Vec<Left>,
    has_met: bool,
    disturbed: usize,
    sessions: usize,
    reconnected: usize,
}

/// What the server has of a run that has ended.
struct Left {
    examples: u64,
    twice: u64,
    /// None where a part of it is at the client.
    adapter: Option<Vec<u8>>,
}

/// What came of runs that were disturbed, each once.
#[derive(Debug, Default)]
pub struct Tally {
    /// Messages that were disturbed.
    pub struck: usize,
    /// Sessions that ended by a refusal for it.
    pub refused: usize,
    /// Acknowledged examples that a run did not have.
    pub lost: u64,
    /// Steps that a run has taken again.
    pub twice: u64,
    /// Largest difference of a loss, a probability or a number of the adapter.
    pub difference: f32,
}

impl Tally {
    /// Adds a run that was disturbed, and holds that it ended as it may.
    fn add(&mut self, whole: &Ran, ran: &Ran, disturbance: Disturbance) {
        let Disturbance {
            direction, fault, ..
        } = disturbance;
        self.struck += ran.disturbed;
        match &ran.run {
            Ok(run) => {
                let expected = whole.run.as_ref().unwrap();
                self.difference = self.difference.max(expected.difference(run));
                assert_eq!(ran.jobs.len(), 1, "{disturbance:?}");
            }
            Err(ClientError::Refused(refused)) if direction == Direction::ToServer => {
                let how = (refused.code, refused.closes);
                assert_eq!(how, (RefusalCode::OutOfOrder, true), "{disturbance:?}");
            }
            Err(error) => assert_eq!(error.name(), "Protocol", "{disturbance:?}: {error}"),
        }
        if ran.run.is_err() {
            assert_eq!((fault, ran.disturbed), (Fault::Late, 1), "{disturbance:?}");
            self.refused += 1;
        }
        // A refusal is not a lost connection.
        let cuts = matches!(fault, Fault::Cut | Fault::Half);
        let further = if cuts { ran.disturbed } else { 0 };
        assert_eq!(ran.sessions, 1 + further, "{disturbance:?}");
        for job in &ran.jobs {
            assert!(job.examples <= ROWS as u64, "stored twice: {disturbance:?}");
            self.lost += ROWS as u64 - job.examples;
            self.twice += job.twice;
            let undisturbed = whole.jobs.iter().find_map(|job| job.adapter.as_deref());
            if let (Some(expected), Some(actual)) = (undisturbed, &job.adapter) {
                self.difference = self.difference.max(difference(expected, actual));
            }
        }
    }
}

impl Run {
    /// The largest difference of a loss or a probability; infinite where something else differs.
    fn difference(&self, other: &Self) -> f32 {
        if self == other {
            return 0.0;
        }
        let steps = |run: &Self| run.steps.iter().map(|(step, _)| *step).collect::<Vec<_>>();
        let counted = |run: &Self| {
            let counted = run
                .validations
                .iter()
                .map(|(step, _, all)| (*step, all.clone()));
            counted.collect::<Vec<_>>()
        };
        if steps(self) != steps(other) || counted(self) != counted(other) {
            return f32::INFINITY;
        }
        let numbers = |run: &Self| -> Vec<f32> {
            let losses = run.steps.iter().map(|(_, loss)| *loss);
            let validated = run.validations.iter().map(|(_, loss, _)| *loss);
            let answers = run.answers.iter().flat_map(|answer| &answer.probabilities);
            losses
                .chain(validated)
                .chain(answers.map(|one| one.probability))
                .collect()
        };
        let (mine, others) = (numbers(self), numbers(other));
        let differences = mine.iter().zip(&others).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    }
}

pub fn options(labels: LabelsAt, bottom: Bottom) -> TrainOptions {
    TrainOptions {
        epochs: 1,
        batch_size: 16,
        dropout: 0.1,
        labels,
        bottom,
        ..TrainOptions::default()
    }
}

/// Uploads in three messages, trains, and predicts, each connection disturbed as it says.
async fn run(options: &TrainOptions, disturbances: Vec<Option<Disturbance>>) -> Ran {
    let server = waiting(
        LONG,
        Options {
            seed: Some(7),
            ..Options::default()
        },
    )
    .await;
    let proxy = CuttingProxy::start(server.addr, disturbances)
        .await
        .unwrap();
    let mut person = Person::with_file(&server).await.through(proxy.addr);
    person.client.draw_from(Seed::new(5));
    person.protect("token").await;
    let mut reconnected = 0;
    let run = tried(&mut person, options, &mut reconnected).await;
    let jobs = left(&server).await;
    // Before the farewell: nobody comes back to say it again.
    let (disturbed, sessions) = (proxy.disturbed(), proxy.sessions());
    let has_met = proxy.met() > 0;
    Box::pin(person.client.goodbye()).await;
    let data = server.stop().await.unwrap();
    assert_eq!(tests::test_server::examples_in(data.path()).unwrap(), 0);
    Ran {
        run,
        jobs,
        has_met,
        disturbed,
        sessions,
        reconnected,
    }
}

/// What the server has of every run, when all of them have ended.
async fn left(server: &TestServer) -> Vec<Left> {
    let mut left = Vec::new();
    for job in ended(server.addr).await {
        let id = job["id"].as_str().unwrap();
        let count = |split: &str| job["examples"][split].as_u64().unwrap();
        left.push(Left {
            examples: count("train") + count("validation"),
            twice: applied_twice(&events(server.addr, id).await),
            adapter: adapter_of(server.addr, id).await,
        });
    }
    left
}

async fn tried(
    person: &mut Person,
    options: &TrainOptions,
    reconnected: &mut usize,
) -> Result<Run, ClientError> {
    let (mut steps, mut validations) = (Vec::new(), Vec::new());
    let done = person
        .train(options, |event| match event {
            Event::Step { step, loss, .. } => steps.push((step, loss)),
            Event::Validation {
                step,
                loss,
                confusion,
                ..
            } => validations.push((step, loss, confusion)),
            Event::Reconnected => *reconnected += 1,
            _ => {}
        })
        .await?;
    // 36 examples train: no upload was stored twice, and no step taken twice.
    assert_eq!((done.steps, done.reason), (3, DoneReason::Finished));
    let numbers: Vec<u32> = steps.iter().map(|(step, _)| *step).collect();
    assert_eq!(numbers, [1, 2, 3]);
    let texts = ["word7 word30", "word9 word31 word9"];
    let texts = texts.map(|text| (RawText::new(text.to_owned()), None));
    let answers = person.client.predict(&texts).await?;
    Ok(Run {
        steps,
        validations,
        answers,
    })
}

async fn undisturbed(options: &TrainOptions) -> Ran {
    let ran = run(options, Vec::new()).await;
    assert_eq!((ran.sessions, ran.reconnected), (1, 0));
    ran
}

/// Holds that a run that was disturbed once came to the same; whether there was such a message.
async fn came_to_the_same(options: &TrainOptions, whole: &Ran, disturbance: Disturbance) -> bool {
    let ran = run(options, vec![Some(disturbance)]).await;
    let mut tally = Tally::default();
    tally.add(whole, &ran, disturbance);
    assert_clean(&tally);
    assert!(ran.run.is_ok(), "{disturbance:?}");
    ran.disturbed == 1
}

fn assert_clean(tally: &Tally) {
    assert_eq!((tally.lost, tally.twice), (0, 0), "{tally:?}");
    assert!(tally.difference == 0.0, "{tally:?}");
}

/// Runs once for every message of either direction, disturbed there.
pub async fn everywhere(options: &TrainOptions, fault: Fault) -> Tally {
    let whole = undisturbed(options).await;
    let mut tally = Tally::default();
    for direction in DIRECTIONS {
        let mut boundaries = 0;
        for at in 1..=MESSAGES_MAX {
            let disturbance = Disturbance {
                direction,
                fault,
                at,
            };
            let ran = Box::pin(run(options, vec![Some(disturbance)])).await;
            if !ran.has_met {
                break;
            }
            tally.add(&whole, &ran, disturbance);
            boundaries = at;
        }
        // To the server: Hello, three uploads, Train and the prediction at least.
        assert!(boundaries >= 6, "{direction:?}: only {boundaries}");
    }
    tally
}

#[tokio::test]
async fn a_run_that_is_cut_at_any_message_is_the_run_that_was_not() {
    let tally = everywhere(&options(LabelsAt::Server, Bottom::Frozen), Fault::Cut).await;
    assert_clean(&tally);
}

/// Each step of this one is five messages, and each of them changes what the next one computes.
#[tokio::test]
async fn a_run_that_both_sides_take_is_the_same_wherever_it_is_cut() {
    let tally = everywhere(&options(LabelsAt::Client, Bottom::Lora), Fault::Cut).await;
    assert_clean(&tally);
}

#[tokio::test]
async fn a_message_that_is_half_sent_or_comes_twice_has_one_effect() {
    for (labels, bottom) in [
        (LabelsAt::Server, Bottom::Frozen),
        (LabelsAt::Client, Bottom::Lora),
    ] {
        let options = options(labels, bottom);
        let whole = undisturbed(&options).await;
        for fault in [Fault::Half, Fault::Twice] {
            for direction in DIRECTIONS {
                // Hello and Welcome, uploads and what answers them, Train and what follows.
                for at in 1..=6 {
                    let disturbance = Disturbance {
                        direction,
                        fault,
                        at,
                    };
                    let happened = came_to_the_same(&options, &whole, disturbance);
                    assert!(Box::pin(happened).await, "{disturbance:?} did not happen");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_network_that_fails_again_and_again_delays_a_run_and_changes_nothing() {
    let options = options(LabelsAt::Client, Bottom::Lora);
    let whole = undisturbed(&options).await;
    for seed in 0..3 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let disturbances = (0..12).map(|_| {
            Some(Disturbance {
                direction: DIRECTIONS[rng.random_range(0..2)],
                fault: [Fault::Cut, Fault::Half][rng.random_range(0..2)],
                at: rng.random_range(2..6),
            })
        });
        let ran = run(&options, disturbances.collect()).await;
        assert!(
            ran.run.unwrap() == *whole.run.as_ref().unwrap(),
            "seed {seed}"
        );
        assert!(ran.disturbed >= 4, "seed {seed}: only {}", ran.disturbed);
        assert_eq!(ran.sessions, 1 + ran.disturbed, "seed {seed}");
    }
}

#[tokio::test]
async fn messages_in_the_wrong_order_end_the_session() {
    let options = options(LabelsAt::Server, Bottom::Frozen);
    // The second upload before the first.
    let late = |direction, at| {
        vec![Some(Disturbance {
            direction,
            fault: Fault::Late,
            at,
        })]
    };
    let ran = run(&options, late(Direction::ToServer, 2)).await;
    let Err(ClientError::Refused(refused)) = ran.run else {
        panic!("it was not refused")
    };
    assert_eq!(
        (refused.code, refused.closes),
        (RefusalCode::OutOfOrder, true)
    );
    // A refusal is not a lost connection.
    assert_eq!((ran.disturbed, ran.sessions), (1, 1));
    // It had not trained, and nothing is left of it.
    assert!(ran.jobs.is_empty());
    // The second step before the first: behind Welcome, three acknowledgements and TrainStarted.
    let ran = run(&options, late(Direction::ToClient, 6)).await;
    let Err(error) = ran.run else {
        panic!("it was not noticed")
    };
    assert_eq!(error.name(), "Protocol");
    assert_eq!((ran.disturbed, ran.sessions), (1, 1));
    // Its run needed it no more.
    let whole = undisturbed(&options).await;
    assert!(ran.jobs[0].adapter.is_some() && ran.jobs[0].adapter == whole.jobs[0].adapter);
}

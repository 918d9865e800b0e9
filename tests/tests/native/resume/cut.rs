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
use tests::{CuttingProxy, Direction, Disturbance, Fault, Options};

use super::{LONG, waiting};
use crate::pipeline::Person;

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
    disturbed: usize,
    sessions: usize,
    reconnected: usize,
}

fn options(labels: LabelsAt, bottom: Bottom) -> TrainOptions {
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
    // Before the farewell: nobody comes back to say it again.
    let (disturbed, sessions) = (proxy.disturbed(), proxy.sessions());
    Box::pin(person.client.goodbye()).await;
    let data = server.stop().await.unwrap();
    assert_eq!(tests::test_server::examples_in(data.path()).unwrap(), 0);
    Ran {
        run,
        disturbed,
        sessions,
        reconnected,
    }
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

async fn undisturbed(options: &TrainOptions) -> Run {
    let ran = run(options, Vec::new()).await;
    let whole = ran.run.unwrap();
    assert_eq!((ran.sessions, ran.reconnected), (1, 0));
    whole
}

/// Holds that a run that was disturbed once came to the same; whether there was such a message.
async fn came_to_the_same(options: &TrainOptions, whole: &Run, disturbance: Disturbance) -> bool {
    let ran = run(options, vec![Some(disturbance)]).await;
    let run = ran
        .run
        .unwrap_or_else(|error| panic!("{disturbance:?}: {error}"));
    assert!(run == *whole, "{disturbance:?}: it came to something else");
    let cuts = matches!(disturbance.fault, Fault::Cut | Fault::Half);
    let further = if cuts { ran.disturbed } else { 0 };
    assert_eq!(ran.sessions, 1 + further, "{disturbance:?}");
    ran.disturbed == 1
}

async fn cut_everywhere(options: &TrainOptions) {
    let whole = undisturbed(options).await;
    for direction in DIRECTIONS {
        let mut boundaries = 0;
        for at in 1..=MESSAGES_MAX {
            let fault = Fault::Cut;
            let disturbance = Disturbance {
                direction,
                fault,
                at,
            };
            if !Box::pin(came_to_the_same(options, &whole, disturbance)).await {
                break;
            }
            boundaries = at;
        }
        // To the server: Hello, three uploads, Train and the prediction at least.
        assert!(boundaries >= 6, "{direction:?}: only {boundaries}");
    }
}

#[tokio::test]
async fn a_run_that_is_cut_at_any_message_is_the_run_that_was_not() {
    cut_everywhere(&options(LabelsAt::Server, Bottom::Frozen)).await;
}

/// Each step of this one is five messages, and each of them changes what the next one computes.
#[tokio::test]
async fn a_run_that_both_sides_take_is_the_same_wherever_it_is_cut() {
    cut_everywhere(&options(LabelsAt::Client, Bottom::Lora)).await;
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
        assert!(ran.run.unwrap() == whole, "seed {seed}");
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
    // The second step before the first: behind Welcome, three acknowledgements and TrainStarted.
    let ran = run(&options, late(Direction::ToClient, 6)).await;
    let Err(error) = ran.run else {
        panic!("it was not noticed")
    };
    assert_eq!(error.name(), "Protocol");
    assert_eq!((ran.disturbed, ran.sessions), (1, 1));
}

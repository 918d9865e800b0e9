//! What a person reads of the protection before anything is sent, on the small random model.

use std::cell::RefCell;

use client_wasm::client::reading::{Kept, Reading, Stop};
use client_wasm::error::ClientError;
use client_wasm::events::Event;
use client_wasm::job::Traffic;
use client_wasm::options::{PrivacyOptions, ReadingOptions};
use shared::privacy::mechanism::MECHANISMS;

use crate::pipeline::Person;
use crate::samples::server;

/// Rows of the file, of four words each, and of those that are attacked: the other half is the
/// attacker's.
const ROWS: usize = 40;
const ATTACKED: usize = ROWS / 2;

/// Levels that are asked for.
fn levels(levels: &[f64]) -> ReadingOptions {
    ReadingOptions {
        levels: levels.to_vec(),
        examples: 60,
    }
}

async fn read(person: &Person, options: &ReadingOptions) -> Reading {
    let stop = Stop::default();
    let reading = person.client.reading(options, &stop, |_| {});
    Box::pin(reading).await.unwrap()
}

#[tokio::test]
async fn without_a_mechanism_everything_is_read_whatever_the_level() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    person.protect("none").await;
    let reading = read(&person, &levels(&[0.2, 0.8])).await;
    assert_eq!((reading.examples, reading.tokens), (ATTACKED, 4 * ATTACKED));
    let asked: Vec<f64> = reading.points.iter().map(|point| point.level).collect();
    assert_eq!(asked, [0.2, 0.8]);
    for point in &reading.points {
        assert_eq!((point.nn, point.bayes, point.eta), (1.0, Some(1.0), None));
        assert_eq!(point.shares.unchanged, 1.0);
    }
    assert_eq!(
        (reading.undefended.nn, reading.undefended.bayes),
        (1.0, Some(1.0))
    );
    // Every word of the file holds a number; two of them stand twice in half of the rows each.
    let survivors = &reading.survivors;
    let all = 4 * ROWS;
    let kept = all;
    assert_eq!(survivors.numbers, Kept { total: all, kept });
    assert_eq!(survivors.names, Kept::default());
    let most: Vec<_> = survivors.examples[..2]
        .iter()
        .map(|survivor| (&*survivor.text, survivor.times))
        .collect();
    assert_eq!(most, [("word7", ROWS), ("word9", ROWS)]);
    // Looking sends nothing.
    assert_eq!(person.traffic(), Traffic::default());
    assert_eq!(server.examples_on_disk().unwrap(), 0);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn more_protection_leaves_less_to_read_and_the_chosen_one_stays() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    for mechanism in ["token", "suppress", "drop"] {
        person.protect(mechanism).await;
        let before = person.client.preview(ROWS).await.unwrap();
        let reading = read(&person, &levels(&[0.1, 0.9])).await;
        let [weak, strong] = &reading.points[..] else {
            panic!("two levels were asked for");
        };
        assert!(weak.nn > strong.nn + 0.2, "{mechanism}: {reading:?}");
        // Undefended words are read, whichever mechanism is set, and guessing is between.
        assert_eq!(reading.undefended.nn, 1.0, "{mechanism}");
        let chance = reading.chance;
        assert!((0.0..1.0).contains(&chance), "{mechanism}: {chance}");
        for point in &reading.points {
            // What came out as it went in is what the simple attacker has; in place or not.
            let unchanged = point.shares.unchanged;
            assert!(
                (point.nn - unchanged).abs() < 1e-9,
                "{mechanism}: {point:?}"
            );
            // Where words have no places the informed one has nothing to begin with.
            assert_eq!(point.bayes.is_none(), mechanism == "drop", "{mechanism}");
            assert_eq!(point.eta.is_some(), mechanism == "token", "{mechanism}");
        }
        // Every word holds a number, so that the survivors are the unchanged words of the preview.
        let Kept { total, kept } = reading.survivors.numbers;
        assert_eq!(total, before.tokens_counted);
        let share = kept as f64 / total as f64;
        assert!(
            (share - before.shares.unchanged).abs() < 1e-9,
            "{mechanism}"
        );
        assert!(person.client.preview(ROWS).await.unwrap() == before);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn every_mechanism_can_be_read() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    for entry in MECHANISMS {
        person.protect(entry.name).await;
        let reading = read(&person, &levels(&[0.5])).await;
        let [point] = &reading.points[..] else {
            panic!("one level was asked for");
        };
        let shares = [Some(point.nn), point.bayes];
        for share in shares.into_iter().flatten() {
            assert!((0.0..=1.0).contains(&share), "{}: {point:?}", entry.name);
        }
        // Averages have no law, and what is left out has no place.
        let applies = !["pool", "drop"].contains(&entry.name);
        assert_eq!(point.bayes.is_some(), applies, "{}", entry.name);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_reading_is_told_of_and_can_be_stopped() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    let asked = levels(&[0.3, 0.6]);
    let stop = Stop::default();
    let early = Box::pin(person.client.reading(&asked, &stop, |_| {})).await;
    assert!(matches!(early, Err(ClientError::NotYet(_))));

    person.protect("token").await;
    let before = person.client.preview(3).await.unwrap();
    let told = RefCell::new(Vec::new());
    let note = |event| match event {
        Event::Reading { done, total } => told.borrow_mut().push((done, total)),
        other => panic!("{other:?}"),
    };
    Box::pin(person.client.reading(&asked, &stop, note))
        .await
        .unwrap();
    let all = told.take();
    assert!(all.is_sorted_by(|a, b| a.0 < b.0), "{all:?}");
    let (first, last) = (all[0], all[all.len() - 1]);
    assert!(first.0 == 0 && last.0 == last.1, "{all:?}");

    // In the middle, and before it begins.
    let stopping = |event| {
        let Event::Reading { done, total } = event else {
            panic!("{event:?}");
        };
        told.borrow_mut().push((done, total));
        if 2 * done > total {
            stop.ask();
        }
    };
    let stopped = Box::pin(person.client.reading(&asked, &stop, stopping)).await;
    assert_eq!(stopped.unwrap_err().name(), "Stopped");
    let told_before = told.take();
    assert!(
        told_before.iter().all(|(done, total)| done < total),
        "{told_before:?}"
    );
    let stopped = Box::pin(person.client.reading(&asked, &stop, |_| {})).await;
    assert!(matches!(stopped, Err(ClientError::Stopped)));
    assert!(person.client.preview(3).await.unwrap() == before);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_is_refused() {
    let server = server().await;
    let mut person = Person::with_file(&server).await;
    let options = PrivacyOptions {
        mechanism: "token".to_owned(),
        protection: None,
        eta: Some(20.0), // the levels are asked for all the same
        ..PrivacyOptions::default()
    };
    person.client.set_privacy(&options).await.unwrap();
    let reading = read(&person, &levels(&[0.4])).await;
    assert!(reading.points[0].eta.is_some_and(|eta| eta != 20.0));
    let none = ReadingOptions {
        examples: 0,
        ..levels(&[0.5])
    };
    for unusable in [none, levels(&[1.5])] {
        let stop = Stop::default();
        let refused = Box::pin(person.client.reading(&unusable, &stop, |_| {})).await;
        assert!(matches!(refused.unwrap_err().name(), "Option" | "Privacy"));
    }
    server.stop().await.unwrap();
}

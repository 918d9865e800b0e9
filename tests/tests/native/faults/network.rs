//! A network that fails at every message in turn.

use std::collections::BTreeMap;

use client_wasm::options::{Bottom, LabelsAt};
use tests::Fault;

use super::figures::Row;
use crate::resume::cut::{everywhere, options};

/// Lets a fault strike at every message of two kinds of run, in both directions.
async fn at_every_message(fault: Fault, name: &'static str, what: &str) {
    let mut row = Row {
        fault: name,
        what: format!("{what}; a run that the server takes alone, and one that both sides take"),
        ..Row::default()
    };
    let mut refused = 0;
    for (labels, bottom) in [
        (LabelsAt::Server, Bottom::Frozen),
        (LabelsAt::Client, Bottom::Lora),
    ] {
        let tally = Box::pin(everywhere(&options(labels, bottom), fault)).await;
        row.struck += tally.struck;
        row.lost += tally.lost;
        row.twice += tally.twice;
        row.difference = row.difference.max(tally.difference);
        refused += tally.refused;
    }
    row.told = BTreeMap::from([
        ("the run went on".to_owned(), row.struck - refused),
        ("refused by code, and the session ended".to_owned(), refused),
    ]);
    row.show();
}

#[tokio::test]
#[ignore = "needs cargo xtask faults"]
async fn cut() {
    let what = "the connection ends before each message of either direction";
    at_every_message(Fault::Cut, "connection cut", what).await;
}

#[tokio::test]
#[ignore = "needs cargo xtask faults"]
async fn half() {
    let what = "the connection ends in the middle of each message of either direction";
    at_every_message(Fault::Half, "half a message", what).await;
}

#[tokio::test]
#[ignore = "needs cargo xtask faults"]
async fn twice() {
    let what = "each message of either direction comes twice";
    at_every_message(Fault::Twice, "message twice", what).await;
}

#[tokio::test]
#[ignore = "needs cargo xtask faults"]
async fn late() {
    let what = "each message of either direction comes after the one that follows it, where one \
                follows without it";
    at_every_message(Fault::Late, "messages swapped", what).await;
}

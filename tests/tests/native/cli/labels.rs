//! A run with the labels at the client, recorded and attacked by the built program.

use serde_json::Value;

use super::{cutlayer, file, lines, of_type};
use crate::samples::server_with;

/// Trains on 50 rows with the labels here, records the run and attacks it; `more` are options of the
/// training.
async fn labels_of_a_recorded_run(more: &[&str]) -> (Value, String) {
    let server = server_with(tests::Options {
        seed: Some(3),
        ..Default::default()
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let train = file(&directory, "train.csv", 50);
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (record, report) = (path("record"), path("report.html"));
    let mut arguments = vec![
        "train",
        &train,
        "--json",
        "--epochs",
        "2",
        "--batch-size",
        "8",
    ];
    arguments.extend(["--mechanism", "none", "--labels", "client", "--seed", "3"]);
    arguments.extend(["--validation-share", "0.2", "--record", &record]);
    arguments.extend(more);
    let output = cutlayer(&server, &arguments, "").await;
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let arguments = [
        "audit",
        &train,
        "--recorded",
        &record,
        "--attacks",
        "eia-nn,labels",
        "--examples",
        "12",
        "--seeds",
        "1",
        "--seed",
        "3",
        "--report",
        &report,
        "--json",
    ];
    let lines = lines(&cutlayer(&server, &arguments, "").await);
    let audit = of_type(&lines, "audit")[0].clone();
    let html = std::fs::read_to_string(&report).unwrap();
    server.stop().await.unwrap();
    (audit, html)
}

/// The best AUC of a kind of evidence in an epoch.
fn auc(audit: &Value, evidence: &str, epoch: u64) -> f64 {
    let leaks = audit["report"]["labels"].as_array().unwrap().iter();
    let own = leaks.filter(|leak| leak["evidence"] == evidence && leak["epoch"] == epoch);
    let aucs: Vec<f64> = own.map(|leak| leak["auc"].as_f64().unwrap()).collect();
    assert_eq!(aucs.len(), 6, "{evidence} of epoch {epoch}");
    aucs.into_iter().fold(0.0, f64::max)
}

/// Breaks when what the server receives is not recorded, or is not the gradient that tells labels:
/// without noise the side of a gradient is its class.
#[tokio::test]
async fn cli_finds_the_labels_in_the_gradients_of_a_recorded_run() {
    let (audit, html) = labels_of_a_recorded_run(&["--cut", "0"]).await;
    for epoch in [1, 2] {
        let found = auc(&audit, "gradients", epoch);
        assert!(found > 0.95, "epoch {epoch}: {found}");
        auc(&audit, "outputs", epoch);
    }
    auc(&audit, "activations", 0);
    let controls = audit["report"]["label_controls"].as_array().unwrap();
    assert_eq!(controls.len(), 3 * 2);
    for control in controls {
        assert_eq!(control["control"]["passed"], true, "{control}");
    }
    assert!(audit["report"]["pattern"].is_null());
    // The texts are attacked as ever.
    assert_eq!(
        audit["report"]["attacks"][0]["defended"]["top1"]["mean"],
        1.0
    );
    assert!(html.contains("What the run told of the labels") && html.contains("<polyline"));
    assert!(html.contains("Count the labels of this run as known"));
}

/// Breaks when a recorded run with a trained bottom cannot be read, or its zeros are not looked at.
#[tokio::test]
async fn cli_looks_for_zeros_where_the_bottom_was_trained() {
    let (audit, html) = labels_of_a_recorded_run(&["--cut", "1", "--bottom", "lora"]).await;
    let pattern = &audit["report"]["pattern"];
    assert_eq!(pattern["passed"], true, "{pattern}");
    // 40 examples train in 5 batches, twice; 10 validate in 2, twice.
    assert_eq!(pattern["batches"], 2 * (5 + 2));
    assert!(auc(&audit, "gradients", 2) > 0.95);
    auc(&audit, "activations", 2);
    let attack = &audit["report"]["attacks"][0];
    assert!(
        attack["not_run"]
            .as_str()
            .unwrap()
            .contains("bottom was trained")
    );
    assert!(html.contains("Zeros, padding and batches"));
}

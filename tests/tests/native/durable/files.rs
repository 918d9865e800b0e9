//! What a job has on disk cannot be written, or is not what was written.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use shared::protocol::message::ClientMessage;
use tempfile::TempDir;
use tests::log;

use super::{
    adapter, again, begun, begun_with, done, job_directory, no_examples, options, post, stands,
    undisturbed,
};
use crate::samples::server_with;

/// Breaks when a disk that takes no checkpoint ends a run.
#[tokio::test]
async fn a_run_goes_on_where_no_checkpoint_can_be_written() {
    let mut options = options(None);
    options.checkpoint_every = std::time::Duration::ZERO;
    let server = server_with(options).await;
    let hello = server.hello().await.unwrap();
    let (client, id) = begun(server.addr, hello).await;
    // A directory where the bytes would go: nothing can be written from here on.
    let checkpoint = job_directory(server.data(), &id).join("checkpoint");
    let partial = checkpoint.with_extension("partial");
    while fs::create_dir(&partial).is_err() {}
    drop(client);
    stands(server.addr, &id, "done").await;
    assert!(adapter(server.data(), &id) == undisturbed().await);
    assert!(log::captured().contains("a checkpoint could not be written; the run goes on"));
    no_examples(&server).await;
    assert!(!partial.exists());
}

/// Breaks when a job is called done whose adapter nobody has.
#[tokio::test]
async fn a_run_whose_adapter_is_nowhere_has_failed() {
    let server = server_with(options(None)).await;
    let hello = server.hello().await.unwrap();
    let (client, id) = begun(server.addr, hello).await;
    // A file where its directory would be made.
    let adapters = server.data().join("adapters");
    fs::remove_dir(&adapters).unwrap();
    fs::write(&adapters, []).unwrap();
    drop(client);
    let job = stands(server.addr, &id, "failed").await;
    assert_eq!(job["failure"], "trainer");
}

/// A job that a daemon has left in its data directory with a checkpoint.
async fn left() -> (Arc<TempDir>, String) {
    let data = Arc::new(tempfile::tempdir().unwrap());
    let server = server_with(options(Some(data.clone()))).await;
    let hello = server.hello().await.unwrap();
    let (_client, id) = begun(server.addr, hello).await;
    // Held, so that it is there whatever the machine's speed.
    assert_eq!(post(server.addr, &id, "pause").await, 202);
    stands(server.addr, &id, "paused").await;
    server.stop().await.unwrap();
    (data, id)
}

/// Breaks when a job goes on with less than it had, or fails without a reason in the log.
#[tokio::test]
async fn a_job_whose_files_are_refused_has_failed_and_the_log_says_why() {
    let flip_a_byte = |job: &Path| {
        let path = job.join("checkpoint");
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    };
    let lose_the_last_row = |job: &Path| {
        let path = job.join("examples/activations");
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    };
    let remove_the_index = |job: &Path| fs::remove_file(job.join("examples/index")).unwrap();
    type Change = fn(&Path);
    let cases: [(Change, &str); 3] = [
        (flip_a_byte, "the checkpoint is damaged"),
        (lose_the_last_row, "it had 32 examples; 0 are there"),
        (remove_the_index, "its examples are not there"),
    ];
    for (change, reason) in cases {
        let (data, id) = left().await;
        change(&job_directory(data.path(), &id));
        let server = again(&options(Some(data.clone()))).await;
        let job = stands(server.addr, &id, "failed").await;
        assert_eq!(job["failure"], "interrupted");
        let log = log::captured();
        let lines = log.lines().filter(|line| line.contains(&id));
        let lines: Vec<_> = lines.filter(|line| line.contains(reason)).collect();
        assert_eq!(lines.len(), 1, "{reason}");
        assert!(!job_directory(data.path(), &id).exists(), "{reason}");
        // The daemon serves as ever.
        let hello = server.hello().await.unwrap();
        let (mut client, _) = begun_with(server.addr, hello, 1).await;
        done(&mut client).await;
    }
}

/// Breaks when a start removes what a job needs, or leaves what nobody does.
#[tokio::test]
async fn a_start_removes_what_nobody_needs() {
    let (data, id) = left().await;
    let jobs = data.path().join("jobs");
    let unknown = jobs.join("0".repeat(32));
    for stray in [&unknown, &jobs.join("of-nobody")] {
        fs::create_dir_all(stray.join("examples")).unwrap();
        fs::write(stray.join("examples/activations"), [1, 2, 3]).unwrap();
    }
    // A job that has ended, and whose daemon was killed before it could remove this.
    let server = again(&options(Some(data.clone()))).await;
    let hello = server.hello().await.unwrap();
    let (mut client, ended) = begun_with(server.addr, hello, 1).await;
    done(&mut client).await;
    client.send(&ClientMessage::Goodbye, &[]).await.unwrap();
    client.closed().await.unwrap();
    server.stop().await.unwrap();
    let leftover = job_directory(data.path(), &ended).join("examples");
    fs::create_dir_all(&leftover).unwrap();

    let server = again(&options(Some(data.clone()))).await;
    server.ready().await.unwrap();
    let left: Vec<_> = fs::read_dir(&jobs)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, [id.as_str()]);
    adapter(data.path(), &ended);
    stands(server.addr, &id, "paused").await;
}

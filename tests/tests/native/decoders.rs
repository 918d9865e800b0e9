//! What fuzzing has met, met again without nightly and libFuzzer: every input of the corpus goes to
//! its decoder, which panics where something does not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use tests::assets::repository;
use tests::decoders::{DECODERS, seeds};

/// Names of seeds begin with this; other inputs are named by what libFuzzer calls them.
const SEED: &str = "seed-";

fn corpus(decoder: &str) -> PathBuf {
    repository().join("fuzz/corpus").join(decoder)
}

/// The inputs of a decoder by their names.
fn inputs(decoder: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(corpus(decoder)).unwrap();
    let input = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        (name, fs::read(entry.path()).unwrap())
    };
    entries.map(|entry| input(entry.unwrap())).collect()
}

#[test]
fn every_input_of_the_corpus_is_survived() {
    for (name, decoder) in DECODERS {
        let inputs = inputs(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for (input, bytes) in inputs {
            let read = std::panic::catch_unwind(|| decoder(&bytes));
            assert!(read.is_ok(), "{name} does not survive {input}");
        }
    }
}

/// Breaks when fuzzing would begin with something that is refused at its first byte, or with bytes
/// that somebody else wrote. `CUTLAYER_WRITE_SEEDS=1` writes them.
#[test]
fn the_seeds_are_ours_and_are_accepted() {
    let writes = std::env::var_os("CUTLAYER_WRITE_SEEDS").is_some();
    for (name, decoder) in DECODERS {
        let seeds: BTreeMap<String, Vec<u8>> = seeds::of(name)
            .into_iter()
            .map(|(seed, bytes)| (format!("{SEED}{seed}"), bytes))
            .collect();
        assert!(!seeds.is_empty(), "{name} has no seeds");
        if writes {
            fs::create_dir_all(corpus(name)).unwrap();
        }
        for (seed, bytes) in &seeds {
            assert!(decoder(bytes), "{name} refuses {seed}");
            if writes {
                fs::write(corpus(name).join(seed), bytes).unwrap();
            }
        }
        let mut committed = inputs(name);
        committed.retain(|input, _| input.starts_with(SEED));
        assert!(
            committed == seeds,
            "{name}: run with CUTLAYER_WRITE_SEEDS=1"
        );
    }
}

/// Breaks when a decoder is not fuzzed, or a target fuzzes another decoder than its name says.
#[test]
fn every_decoder_is_a_target() {
    let fuzz = repository().join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let mut files = BTreeSet::new();
    for entry in fs::read_dir(fuzz.join("targets")).unwrap() {
        files.insert(entry.unwrap().file_name().into_string().unwrap());
    }
    let names = DECODERS.map(|(name, _)| name);
    let expected: BTreeSet<_> = names.iter().map(|name| format!("{name}.rs")).collect();
    assert_eq!(files, expected);
    for name in names {
        assert!(manifest.contains(&format!("path = \"targets/{name}.rs\"")));
        let target = fs::read_to_string(fuzz.join(format!("targets/{name}.rs"))).unwrap();
        assert!(target.contains(&format!("tests::decoders::{name}(bytes)")));
    }
}

/// The committed corpus is a regression test, not an archive.
#[test]
fn the_corpus_is_small() {
    let inputs = DECODERS.iter().flat_map(|(name, _)| inputs(name));
    let bytes: usize = inputs.map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes < 400_000, "{bytes} bytes");
}

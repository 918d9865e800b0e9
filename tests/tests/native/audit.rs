//! The audit against a client whose answers are known: on the small random model every attack, control
//! and check has a result that theory fixes.

use std::cell::Cell;

use client_wasm::client::Client;
use client_wasm::client::audit::{Audited, OwnedExample};
use client_wasm::options::{
    BottomPrecision, ConnectOptions, DeviceChoice, PrivacyOptions, UploadDtype,
};
use client_wasm::release::ReleaseKey;
use client_wasm::transport::native::NativeTransport;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha20Rng;
use shared::audit::attacks::named;
use shared::audit::report::{AttackReport, AuditReport, Control};
use shared::audit::{
    NoiseLaw, Pending, Plan, Released, Simulator, Subject, TokenEta, Truth, Watch,
};
use shared::text::TokenIds;
use tests::TestServer;

use crate::samples::server;

/// Rows of the file; the first are attacked, the others are the attacker's.
const ROWS: usize = 90;

/// Rows that are attacked.
const ATTACKED: usize = 40;

/// Words of a row.
const WORDS: usize = 8;

/// A client with a file, and the rows that are attacked and not.
struct Person {
    client: Client<NativeTransport>,
    examples: Vec<OwnedExample>,
    public: Vec<TokenIds>,
}

impl Person {
    async fn with(server: &TestServer, cut: u32, mechanism: &str, eta: Option<f64>) -> Self {
        let address = format!("http://{}", server.addr);
        let options = ConnectOptions {
            device: DeviceChoice::Cpu,
            cut: Some(cut),
            precision: BottomPrecision::F32,
            seq_length_max: 0,
        };
        let key = ReleaseKey::from_bytes([3; 32]);
        let connected = Client::<NativeTransport>::connect(&address, &options, key, |_| {});
        let mut client = Box::pin(connected).await.unwrap();
        client.read_file("rows.csv", file().as_bytes()).unwrap();
        let options = PrivacyOptions {
            mechanism: mechanism.to_owned(),
            protection: Some(0.5).filter(|_| eta.is_none()),
            eta,
            ..PrivacyOptions::default()
        };
        client.set_privacy(&options).await.unwrap();
        let all: Vec<usize> = (0..ROWS).collect();
        let (attacked, others) = all.split_at(ATTACKED);
        let examples = client.private_examples(attacked).await.unwrap();
        let others = client.private_examples(others).await.unwrap();
        Self {
            client,
            examples,
            public: others.into_iter().map(|example| example.tokens).collect(),
        }
    }

    fn audited(&self) -> Audited<'_> {
        let rows: Vec<usize> = (0..ATTACKED).collect();
        self.client.audited(&rows, None, UploadDtype::F32).unwrap()
    }

    /// Runs some attacks and checks against `subject`.
    async fn audit(&self, subject: &dyn Subject, wanted: &Wanted<'_>) -> AuditReport {
        let tokens: Vec<TokenIds> = self.examples.iter().map(|e| e.tokens.clone()).collect();
        let classes: Vec<u32> = self.examples.iter().map(|e| e.label).collect();
        let truth = Truth {
            tokens: &tokens,
            named: &[],
            classes: &classes,
            keeps_positions: true,
        };
        let special = self.client.special_ids();
        let knowledge = self.client.knowledge(&special, &self.public, None);
        let names: Vec<String> = wanted
            .attacks
            .iter()
            .map(|name| (*name).to_owned())
            .collect();
        let Ok(attacks) = named(&names) else {
            panic!("an attack of this name");
        };
        let plan = Plan {
            attacks: &attacks,
            observations: wanted.observations,
            side: true,
            claim: wanted.claim,
            seeds: &[11, 12],
        };
        let watch = Ticks(Cell::new(0.0));
        let outcome = shared::audit::run::run(subject, &knowledge, &truth, &plan, &watch).await;
        outcome.unwrap().report
    }
}

#[derive(Default)]
struct Wanted<'a> {
    attacks: &'a [&'a str],
    observations: usize,
    claim: bool,
}

/// A clock that goes on by a second whenever it is looked at.
struct Ticks(Cell<f64>);

impl Watch for Ticks {
    fn progress(&self, _: &str, share: f64) {
        assert!(share.is_finite());
    }

    fn seconds(&self) -> f64 {
        self.0.set(self.0.get() + 1.0);
        self.0.get()
    }
}

/// Rows of words drawn from the whole vocabulary, each equally likely: chance is 1 in 115.
fn file() -> String {
    let mut rng = ChaCha20Rng::seed_from_u64(21);
    let mut word = || format!("word{}", 5 + rng.next_u64() % 115);
    let rows: String = (0..ROWS)
        .map(|row| {
            let words: Vec<String> = (0..WORDS).map(|_| word()).collect();
            format!("{},{}\n", words.join(" "), ["no", "yes"][row % 2])
        })
        .collect();
    format!("text,label\n{rows}")
}

fn control<'r>(attack: &'r AttackReport, name: &str) -> &'r Control {
    let found = attack.controls.iter().find(|control| control.name == name);
    found.unwrap()
}

fn success(attack: &AttackReport) -> f64 {
    attack.defended.success.unwrap().mean
}

#[tokio::test]
async fn without_noise_at_cut_0_everything_is_read() {
    let server = server().await;
    let person = Box::pin(Person::with(&server, 0, "none", None)).await;
    let wanted = Wanted {
        attacks: &[
            "eia-nn",
            "eia-nn-cosine",
            "eia-bayes",
            "eia-bayes-pairs",
            "as-is",
        ],
        ..Wanted::default()
    };
    let report = Box::pin(person.audit(&person.audited(), &wanted)).await;
    for attack in &report.attacks[..4] {
        assert_eq!(success(attack), 1.0, "{}", attack.id);
        let documents = attack.defended.exact_documents.unwrap();
        assert_eq!((documents.mean, documents.half_width), (1.0, Some(0.0)));
        let shuffled = control(attack, "shuffled pairs");
        assert!(
            shuffled.passed && shuffled.value < 0.05,
            "{}: {shuffled:?}",
            attack.id
        );
        assert!(attack.chance.unwrap() < 0.03, "{:?}", attack.chance);
        assert!(attack.seconds >= 1.0);
    }
    // Nothing was replaced, so there is nothing to read as it is.
    assert!(report.attacks[4].not_run.is_some());
    assert_eq!(report.empirical_privacy.unwrap().mean, 0.0);
    // Every row has as many words as the others.
    let side = report.side.as_ref().unwrap();
    assert_eq!((side.unique_by_length, side.lengths), (0.0, 1));
    assert!(report.passed());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn above_the_cut_centroids_of_public_text_still_read_most() {
    let server = server().await;
    let person = Box::pin(Person::with(&server, 1, "none", None)).await;
    let wanted = Wanted {
        attacks: &["eia-nn"],
        ..Wanted::default()
    };
    let report = Box::pin(person.audit(&person.audited(), &wanted)).await;
    // 50 public rows of 8 words hold a word of 115 with probability 1 - (114/115)^400 = 0.97.
    let found = success(&report.attacks[0]);
    assert!(found > 0.2 && found < 1.0, "{found}");
    assert!(report.passed());
    server.stop().await.unwrap();
}

#[tokio::test]
async fn under_much_noise_little_is_read_but_a_leak_is_found() {
    let server = server().await;
    let person = Box::pin(Person::with(&server, 0, "vector", Some(0.5))).await;
    let wanted = Wanted {
        attacks: &["eia-nn", "eia-bayes"],
        claim: true,
        ..Wanted::default()
    };
    let report = Box::pin(person.audit(&person.audited(), &wanted)).await;
    for attack in &report.attacks {
        assert!(success(attack) < 0.3, "{}: {}", attack.id, success(attack));
        let reference = control(attack, "undefended reference");
        assert!(reference.passed && reference.value == 1.0, "{reference:?}");
        // Every tenth text is released clean. The search by distance finds it whatever the noise.
        if attack.id == "eia-nn" {
            let leak = control(attack, "injected leak");
            assert!(leak.passed && leak.value == 1.0, "{leak:?}");
        }
    }
    assert!(!report.claim.is_empty());
    assert!(
        report.claim.iter().all(|check| check.passed),
        "{:?}",
        report.claim
    );
    server.stop().await.unwrap();
}

#[tokio::test]
async fn one_release_gives_averaging_nothing_and_fresh_noise_would() {
    let server = server().await;
    let person = Box::pin(Person::with(&server, 0, "token", None)).await;
    let wanted = Wanted {
        attacks: &["as-is", "eia-bayes", "eia-bayes-pairs"],
        observations: 12,
        claim: true,
    };
    let report = Box::pin(person.audit(&person.audited(), &wanted)).await;
    let averaging = report.averaging.as_ref().unwrap();
    assert_eq!(averaging.one_release, averaging.single);
    assert!(averaging.control.passed);
    assert!(
        averaging.fresh_noise > averaging.single + 0.2,
        "{averaging:?}"
    );
    // At a protection of a half about half of the words stay as they are.
    let unchanged = success(&report.attacks[0]);
    assert!((unchanged - 0.5).abs() < 0.15, "{unchanged}");
    // Whoever knows the law does not do much worse than whoever reads what is there.
    assert!(success(&report.attacks[1]) > unchanged - 0.1);
    assert!(
        report.claim.iter().all(|check| check.passed),
        "{:?}",
        report.claim
    );
    server.stop().await.unwrap();
}

/// A client that claims half of its eta: twice the protection that it has.
struct Overclaims<'a>(&'a Audited<'a>, Claims<'a>);

struct Claims<'a>(&'a dyn Simulator);

impl Simulator for Claims<'_> {
    fn release<'a>(&'a self, tokens: &'a [TokenIds], seed: u64) -> Pending<'a, Released> {
        self.0.release(tokens, seed)
    }

    fn noise(&self) -> NoiseLaw {
        let half = |eta: TokenEta| TokenEta::Same(0.5 * eta.at(5));
        match self.0.noise() {
            NoiseLaw::Embedding { eta } => NoiseLaw::Embedding { eta: half(eta) },
            NoiseLaw::Cut { eta, norm_max } => NoiseLaw::Cut {
                eta: half(eta),
                norm_max,
            },
            other => other,
        }
    }

    fn keeps_positions(&self) -> bool {
        true
    }
}

impl Subject for Overclaims<'_> {
    fn observe(&self, secret: u64) -> Pending<'_, Released> {
        self.0.observe(secret)
    }

    fn simulator(&self) -> &dyn Simulator {
        &self.1
    }

    fn undefended(&self) -> &dyn Simulator {
        self.0.undefended()
    }
}

#[tokio::test]
async fn a_client_that_claims_too_much_is_found_out() {
    let server = server().await;
    for (mechanism, eta) in [("token", None), ("vector", Some(4.0))] {
        let person = Box::pin(Person::with(&server, 0, mechanism, eta)).await;
        let audited = person.audited();
        let wanted = Wanted {
            claim: true,
            ..Wanted::default()
        };
        let honest = Box::pin(person.audit(&audited, &wanted)).await;
        assert!(honest.passed(), "{mechanism}: {:?}", honest.claim);
        let overclaims = Overclaims(&audited, Claims(audited.simulator()));
        let found = Box::pin(person.audit(&overclaims, &wanted)).await;
        let failed = found.claim.iter().filter(|check| !check.passed);
        assert!(failed.count() > 0, "{mechanism}: {:?}", found.claim);
    }
    server.stop().await.unwrap();
}

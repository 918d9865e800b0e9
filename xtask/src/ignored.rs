//! Finds the tests that the first run ignored and says what each of them needs.
//!
//! A test that needs what may be absent is `#[ignore = "needs ..."]`. The words of its name or of its reason say
//! which: `needs_shared_data`, `needs torch`, `needs_chromium`, `needs vulkan`, `needs_models`, `needs proxies`,
//! `needs npm`, `needs tmpfs`. One that takes too long for every run names the command that runs it:
//! `needs cargo xtask faults`.

/// Names something that a test needs and a machine may not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// The models that `cargo xtask fetch` brings.
    Models,
    /// The data sets beside the checkout.
    SharedData,
    /// A Python with torch, transformers and peft.
    Torch,
    /// The reverse proxies nginx and Caddy.
    Proxies,
    /// The right to mount a small disk, as root or in a user namespace.
    Tmpfs,
    /// A Vulkan driver, in software at least.
    Vulkan,
    /// Chromium with its driver, and the built page.
    Chromium,
    /// The packed client for pages of others.
    Npm,
    /// More time than a test run has; `cargo xtask faults` takes it.
    Faults,
}

/// Holds a test that the first run did not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IgnoredTest {
    /// Its name as the test runner prints it.
    pub(crate) name: String,
    /// Why it was ignored; empty when nothing is said.
    pub(crate) reason: String,
    /// What it needs, in the order of [`Need::ALL`]; empty when nothing known is named.
    pub(crate) needs: Vec<Need>,
}

impl Need {
    /// Every need, cheapest first.
    pub(crate) const ALL: [Self; 9] = [
        Self::Models,
        Self::SharedData,
        Self::Torch,
        Self::Proxies,
        Self::Tmpfs,
        Self::Vulkan,
        Self::Chromium,
        Self::Npm,
        Self::Faults,
    ];

    /// The name of the stage that runs the tests with this need.
    pub(crate) fn stage(self) -> &'static str {
        match self {
            Self::Models => "tests with models",
            Self::SharedData => "tests with shared data",
            Self::Torch => "tests with torch",
            Self::Proxies => "tests behind proxies",
            Self::Tmpfs => "tests on a full disk",
            Self::Vulkan => "tests on software Vulkan",
            Self::Chromium => "page in Chromium",
            Self::Npm => "npm package in Chromium",
            Self::Faults => "faults at full size",
        }
    }

    /// What a test writes after "needs".
    fn word(self) -> &'static str {
        match self {
            Self::Models => "models",
            Self::SharedData => "shared data",
            Self::Torch => "torch",
            Self::Proxies => "proxies",
            Self::Tmpfs => "tmpfs",
            Self::Vulkan => "vulkan",
            Self::Chromium => "chromium",
            Self::Npm => "npm",
            Self::Faults => "cargo xtask faults",
        }
    }
}

impl IgnoredTest {
    /// The need whose stage runs this test: the last one, by which time all are known.
    pub(crate) fn stage(&self) -> Option<Need> {
        self.needs.iter().copied().max()
    }
}

/// Reads the ignored tests out of the output of `cargo test`.
pub(crate) fn find(output: &str) -> Vec<IgnoredTest> {
    output.lines().filter_map(parse).collect()
}

/// Reads `test NAME ... ignored, REASON`.
fn parse(line: &str) -> Option<IgnoredTest> {
    let (name, rest) = line.strip_prefix("test ")?.split_once(" ... ignored")?;
    let reason = rest.strip_prefix(", ").unwrap_or_default();
    let said = format!("{name} {reason}")
        .to_lowercase()
        .replace(['_', '/'], " ");
    // `needs chromium and vulkan` names both, so what follows the first "needs" is searched for each word.
    let wanted = said.split_once("needs").map_or("", |(_, wanted)| wanted);
    let names = |need: &Need| wanted.contains(need.word());
    Some(IgnoredTest {
        name: name.to_owned(),
        reason: reason.to_owned(),
        needs: Need::ALL.into_iter().filter(names).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 7 tests\n\
        test peft::needs_torch_export_gives_the_same_logits ... ignored\n\
        test page::trains_on_the_sample ... ignored, needs chromium and models\n\
        test session::resumes ... ok\n\
        test dataset::reads_every_row ... ignored, needs ../shared/data\n\
        test bench::takes_an_hour ... ignored, slow\n\
        test faults::kills::at_random ... ignored, needs cargo xtask faults\n\
        test shared/src/lib.rs - text (line 12) ... ignored\n";

    /// Breaks when a test with a need is never run, or runs in two stages.
    #[test]
    fn needs_are_read_from_name_and_reason() {
        let tests = find(OUTPUT);
        let stages: Vec<_> = tests.iter().map(IgnoredTest::stage).collect();
        assert_eq!(
            stages,
            [
                Some(Need::Torch),
                Some(Need::Chromium),
                Some(Need::SharedData),
                None,
                Some(Need::Faults),
                None
            ]
        );
        assert_eq!(tests[1].needs, [Need::Models, Need::Chromium]);
        assert_eq!(tests[1].name, "page::trains_on_the_sample");
        assert_eq!(tests[3].reason, "slow");
    }

    /// Breaks when a word that stands before "needs" is taken for a need.
    #[test]
    fn only_what_follows_needs_counts() {
        let tests = find("test chromium::args_are_escaped ... ignored\n");
        assert!(tests[0].needs.is_empty());
    }
}

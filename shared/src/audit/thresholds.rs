//! When a number counts. Fixed before any run; a change here is a change of what PASS means.

/// Success of an attack on undefended activations at cut 0, where the bottom's output tells the
/// token: anything less is a broken attack.
pub const REFERENCE_AT_CUT_0_MIN: f64 = 0.95;

/// Attacks whose undefended success at cut 0 follows from theory.
pub const EXACT_AT_CUT_0: &[&str] = &[
    "eia-nn",
    "eia-nn-cosine",
    "eia-bayes",
    "eia-bayes-pairs",
    "as-is",
];

/// Every other attack must do this many times better than chance on undefended activations, or else
/// close the share [`REFERENCE_OF_THE_REST_MIN`] of what chance leaves, whichever is less: of bags
/// chance alone finds a third, and three times that is in no attack's reach.
pub const REFERENCE_OVER_CHANCE_MIN: f64 = 3.0;

/// See [`REFERENCE_OVER_CHANCE_MIN`].
pub const REFERENCE_OF_THE_REST_MIN: f64 = 1.0 / 3.0;

/// Attacks that guess a class must be right this much more often than chance on undefended
/// activations: whether a class shows in a text at all is no matter of theory.
pub const REFERENCE_OF_CLASSES_ABOVE_CHANCE_MIN: f64 = 0.05;

/// Guesses held against the texts of others may succeed this much above chance at most: more means
/// that the scorer or the attack sees the truth on another way.
pub const SHUFFLED_ABOVE_CHANCE_MAX: f64 = 0.05;

/// One of so many documents is released clean in the control "injected leak".
pub const LEAK_ONE_OF: usize = 10;

/// Share of what the attack recovers of these documents undefended that it must recover of them
/// when they leak.
pub const LEAK_FOUND_MIN: f64 = 0.8;

/// Under one release an attack on several observations may gain this much over one observation.
pub const AVERAGING_GAIN_MAX: f64 = 0.005;

/// Each check of the guarantee is wrong with this probability at most.
pub const CLAIM_ALPHA: f64 = 0.005;

/// `I(length; class)` counts as found below this p-value.
pub const SIDE_P_MAX: f64 = 0.05;

/// Fewer examples than this make no report worth signing.
pub const EXAMPLES_MIN: usize = 10;

/// With shuffled labels no AUC may lie further from 0.5 than this many deviations by chance. A
/// normal deviate does in one of 150,000 cases, and a report tests some 20 AUCs.
pub const SHUFFLED_LABELS_DEVIATIONS_MAX: f64 = 4.5;

/// Length of the leak that is added to every vector in the control "injected leak", over the root
/// mean square length of the vectors.
pub const LABEL_LEAK_LENGTH: f64 = 3.0;

/// AUC that every method which looks at directions must reach on that leak.
pub const LABEL_LEAK_AUC_MIN: f64 = 0.95;

/// AUC from which on a label counts as known to the server.
pub const LABELS_KNOWN_AUC_MIN: f64 = 0.9;

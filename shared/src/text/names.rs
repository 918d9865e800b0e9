//! Column names that data sets use for texts, pairs and labels.

/// Names of text columns.
const TEXT: [&str; 23] = [
    "text",
    "sentence",
    "review",
    "comment",
    "content",
    "message",
    "body",
    "tweet",
    "post",
    "utterance",
    "document",
    "fulltext",
    "rawtext",
    "abstract",
    "description",
    "moment",
    "headline",
    "title",
    "query",
    "question",
    "sentence1",
    "reviewtext",
    "reviewbody",
];

/// Names of label columns, the surest first.
const LABEL: [&str; 21] = [
    "label",
    "labels",
    "goldlabel",
    "labeltext",
    "target",
    "class",
    "category",
    "sentiment",
    "polarity",
    "rating",
    "stars",
    "quality",
    "isduplicate",
    "intent",
    "emotion",
    "topic",
    "score",
    "grade",
    "tag",
    "y",
    "output",
];

/// Names of the two texts of a pair.
const PAIRS: [(&str, &str); 11] = [
    ("1string", "2string"),
    ("sentence1", "sentence2"),
    ("question1", "question2"),
    ("premise", "hypothesis"),
    ("text1", "text2"),
    ("texta", "textb"),
    ("sentencea", "sentenceb"),
    ("s1", "s2"),
    ("question", "sentence"),
    ("question", "passage"),
    ("query", "passage"),
];

/// Other names that show that a line is a header.
const OTHER: [&str; 12] = [
    "id",
    "index",
    "idx",
    "uid",
    "guid",
    "date",
    "time",
    "timestamp",
    "name",
    "author",
    "user",
    "unnamed0",
];

/// Reduces a name to lower-case letters and digits.
pub(super) fn normalised(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// Whether a text column usually has this name.
pub(super) fn is_text(name: &str) -> bool {
    TEXT.contains(&normalised(name).as_str())
}

/// Returns how surely a column of this name holds labels, 0 for most; `None` for a name that says nothing.
pub(super) fn label_rank(name: &str) -> Option<usize> {
    let name = normalised(name);
    let exact = LABEL.iter().position(|known| *known == name);
    // "review_label", "sentimentClass": the last word decides, for the words that hardly mean anything else.
    let ending = || {
        let endings = ["label", "class", "category", "sentiment", "rating"];
        endings
            .iter()
            .any(|ending| name.ends_with(ending))
            .then_some(LABEL.len())
    };
    exact.or_else(ending)
}

/// Returns the positions of the two texts of a pair, if the names say that there is one.
pub(super) fn pair(names: &[String]) -> Option<(usize, usize)> {
    let names: Vec<String> = names.iter().map(|name| normalised(name)).collect();
    let position = |wanted: &str| names.iter().position(|name| name == wanted);
    PAIRS
        .iter()
        .find_map(|(first, second)| Some((position(first)?, position(second)?)))
}

/// Whether a cell is a well-known column name, so that its line must be a header.
pub(super) fn is_known(name: &str) -> bool {
    let plain = normalised(name);
    is_text(name)
        || LABEL.contains(&plain.as_str())
        || OTHER.contains(&plain.as_str())
        || PAIRS
            .iter()
            .any(|(first, second)| plain == *first || plain == *second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn labels_are_ranked() {
        assert_eq!(label_rank("Label"), Some(0));
        assert!(label_rank("label") < label_rank("rating"));
        assert!(label_rank("rating") < label_rank("review_class"));
        assert_eq!(label_rank("moment"), None);
    }

    #[test]
    fn pairs_are_found_by_both_names() {
        let mrpc = names(&["Quality", "#1 ID", "#2 ID", "#1 String", "#2 String"]);
        assert_eq!(pair(&mrpc), Some((3, 4)));
        assert_eq!(pair(&names(&["hypothesis", "premise"])), Some((1, 0)));
        assert_eq!(pair(&names(&["sentence1", "label"])), None);
    }

    #[test]
    fn known_names() {
        assert!(is_known("Unnamed: 0") && is_known("TEXT") && is_known("#2 String"));
        assert!(!is_known("a fine film"));
    }
}

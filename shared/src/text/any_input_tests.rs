//! Whatever is dropped on the page, the readers answer with a table or a sentence, never with a panic.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{Columns, Dataset, DatasetLimits, Table, Texts};

const LIMITS: DatasetLimits = DatasetLimits {
    examples_min: 1,
    classes_max: 5,
};

/// Reads bytes as far as they go and checks that every row is accounted for.
fn read_all(file_name: &str, bytes: &[u8]) {
    let Ok(table) = Table::read(file_name, bytes) else {
        return;
    };
    let Ok(columns) = Columns::detect(&table) else {
        return;
    };
    if let Ok(data) = Dataset::from_table(&table, &columns, &LIMITS) {
        let report = data.report();
        assert_eq!(report.examples + report.bad_rows.total(), report.rows);
        assert_eq!(data.counts().iter().sum::<usize>(), data.examples().len());
        assert!(
            data.examples()
                .iter()
                .all(|e| (e.label as usize) < data.labels().len())
        );
        assert!(data.examples().iter().all(|e| !e.text.expose().is_empty()));
    }
    if let Ok(texts) = Texts::from_table(&table, &columns) {
        assert!(
            texts
                .rows()
                .windows(2)
                .all(|pair| pair[0].row <= pair[1].row)
        );
    }
}

fn file_name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "a.csv", "a.tsv", "a.json", "a.jsonl", "a.txt", "a", "",
    ])
}

proptest! {
    #[test]
    fn any_bytes(name in file_name(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read_all(name, &bytes);
    }

    #[test]
    fn any_mix_of_marks(name in file_name(), text in r#"([,;@"'{}\[\]: \t\r\n\\01ab\u{e9}\u{feff}&#]|text|label){0,80}"#) {
        read_all(name, text.as_bytes());
    }

    #[test]
    fn quoted_cells_come_back(cells in prop::collection::vec(("[a-z][a-z,;\"\n ]{0,20}[a-z]", "[xy]"), 3..20)) {
        let quoted = |(text, label): &(String, String)| {
            format!("\"{}\",{label}\n", text.replace('"', "\"\""))
        };
        let csv = format!("text,label\n{}", cells.iter().map(quoted).collect::<String>());
        let table = Table::read("a.csv", csv.as_bytes()).unwrap();
        let columns = Columns { text: 0, pair: None, label: None };
        let texts = Texts::from_table(&table, &columns).unwrap();
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let read: Vec<_> = texts.rows().iter().map(|row| words(row.text.expose())).collect();
        prop_assert_eq!(read, cells.iter().map(|(text, _)| words(text)).collect::<Vec<_>>());
    }
}

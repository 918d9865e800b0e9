//! A row: a data set, how its text is protected, and what is measured.

use serde_json::{Map, Value};

use super::data::DataSet;
use super::measure::Measure;

/// One line of an experiment's list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// Unique in the experiment: what `--only` looks at.
    pub(crate) name: String,
    pub(crate) data: DataSet,
    /// Options of cut and privacy, as they are typed.
    pub(crate) options: String,
    pub(crate) measures: Vec<Measure>,
}

impl Row {
    /// A row of a list: its name is that of the data set and its own.
    pub(crate) fn new(data: DataSet, name: &str, options: &str, measures: &[Measure]) -> Self {
        Self {
            name: format!("{}/{name}", data.name()),
            data,
            options: options.to_owned(),
            measures: measures.to_vec(),
        }
    }

    /// Its name without the data set's.
    pub(crate) fn short_name(&self) -> &str {
        self.name
            .split_once('/')
            .map_or(&self.name, |(_, name)| name)
    }

    /// The value of an option of cut or privacy.
    pub(crate) fn option(&self, name: &str) -> Option<&str> {
        let mut words = self.options.split_whitespace();
        words.find(|word| word.strip_prefix("--") == Some(name))?;
        words.next().filter(|value| !value.starts_with("--"))
    }

    /// Its options as an object, for readers of the records.
    pub(crate) fn settings(&self) -> Value {
        let mut settings = Map::new();
        settings.insert("data".to_owned(), self.data.name().into());
        for word in self.options.split_whitespace() {
            if let Some(name) = word.strip_prefix("--") {
                let value = self.option(name).map_or(Value::Bool(true), Value::from);
                settings.insert(name.to_owned(), value);
            }
        }
        Value::Object(settings)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_read_back() {
        let options = "--cut 2 --mechanism token --label-dependent --protection 0.5";
        let row = Row::new(DataSet::Sst, "token", options, &[]);
        assert_eq!(
            (row.name.as_str(), row.short_name()),
            ("sst/token", "token")
        );
        assert_eq!(row.option("protection"), Some("0.5"));
        assert_eq!(row.option("label-dependent"), None);
        assert_eq!(row.option("eta"), None);
        let expected = json!({
            "data": "sst", "cut": "2", "mechanism": "token", "label-dependent": true,
            "protection": "0.5",
        });
        assert_eq!(row.settings(), expected);
    }
}

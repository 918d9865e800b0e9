//! What a token allows.

use std::fmt;
use std::str::FromStr;

/// One thing that a token may allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Open sessions and train.
    Train,
    /// Ask an adapter for its answers.
    Predict,
    /// See, hold, end and delete jobs.
    Jobs,
    /// See adapters.
    Adapters,
    /// Take adapters away.
    Export,
    /// Administer the tenant.
    Admin,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 6] = [
        Self::Train,
        Self::Predict,
        Self::Jobs,
        Self::Adapters,
        Self::Export,
        Self::Admin,
    ];

    /// The scope's name in the store and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Predict => "predict",
            Self::Jobs => "jobs",
            Self::Adapters => "adapters",
            Self::Export => "export",
            Self::Admin => "admin",
        }
    }
}

/// There is no scope of that name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a scope is one of train, predict, jobs, adapters, export, admin")]
pub struct ScopeError;

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(name: &str) -> Result<Self, ScopeError> {
        Self::ALL
            .into_iter()
            .find(|scope| scope.name() == name)
            .ok_or(ScopeError)
    }
}

/// Some scopes. None implies another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self((1 << Scope::ALL.len()) - 1);

    /// Those of a list.
    pub fn of(scopes: &[Scope]) -> Self {
        Self(scopes.iter().fold(0, |bits, &scope| bits | bit(scope)))
    }

    /// Whether one is among them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & bit(scope) != 0
    }
}

fn bit(scope: Scope) -> u8 {
    1 << scope as u8
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Scope::ALL.into_iter().filter(|&scope| self.has(scope));
        let names: Vec<_> = names.map(Scope::name).collect();
        f.write_str(&names.join(","))
    }
}

impl FromStr for Scopes {
    type Err = ScopeError;

    /// Reads what `Display` writes; an empty text is no scope at all.
    fn from_str(names: &str) -> Result<Self, ScopeError> {
        let names = names.split(',').filter(|name| !name.is_empty());
        let scopes = names.map(str::parse).collect::<Result<Vec<Scope>, _>>()?;
        Ok(Self::of(&scopes))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_read_as_they_are_written() {
        let scopes = Scopes::of(&[Scope::Export, Scope::Train]);
        assert_eq!(scopes.to_string(), "train,export");
        assert_eq!("export,train".parse(), Ok(scopes));
        assert_eq!("".parse(), Ok(Scopes::of(&[])));
        assert_eq!("train,root".parse::<Scopes>(), Err(ScopeError));
        assert_eq!(Scopes::ALL.to_string().parse(), Ok(Scopes::ALL));
    }

    #[test]
    fn no_scope_implies_another() {
        for scope in Scope::ALL {
            for other in Scope::ALL {
                assert_eq!(Scopes::of(&[scope]).has(other), scope == other);
            }
        }
    }
}

//! Conditions on generations and metagenerations.

use crate::{failure::Failure, query::Query};

/// What must hold of an object for a request to be carried out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    generation_match: Option<i64>,
    generation_not_match: Option<i64>,
    metageneration_match: Option<i64>,
    metageneration_not_match: Option<i64>,
}

/// Generation and metageneration of the live object, if there is one.
pub(crate) type Versions = Option<(i64, i64)>;

impl Conditions {
    pub(crate) fn parse(query: &Query) -> Result<Self, Failure> {
        Ok(Self {
            generation_match: query.number("ifGenerationMatch")?,
            generation_not_match: query.number("ifGenerationNotMatch")?,
            metageneration_match: query.number("ifMetagenerationMatch")?,
            metageneration_not_match: query.number("ifMetagenerationNotMatch")?,
        })
    }

    pub(crate) fn generation(generation: Option<i64>) -> Self {
        Self { generation_match: generation, ..Self::default() }
    }

    /// For writes.
    pub(crate) fn check(&self, live: Versions) -> Result<(), Failure> {
        if self.matches(live) && self.differs(live) { Ok(()) } else { Err(Failure::condition()) }
    }

    /// For reads, where "it is still what you have" is no failure.
    pub(crate) fn check_read(&self, live: Versions) -> Result<(), Failure> {
        if !self.matches(live) {
            return Err(Failure::condition());
        }
        if self.differs(live) { Ok(()) } else { Err(Failure::new(304, "notModified", "Not Modified")) }
    }

    /// Generation 0 stands for "no object".
    fn matches(&self, live: Versions) -> bool {
        let (generation, metageneration) = live.unwrap_or((0, 0));
        self.generation_match.is_none_or(|wanted| wanted == generation)
            && self.metageneration_match.is_none_or(|wanted| live.is_some() && wanted == metageneration)
    }

    fn differs(&self, live: Versions) -> bool {
        let (generation, metageneration) = live.unwrap_or((0, 0));
        self.generation_not_match.is_none_or(|unwanted| unwanted != generation)
            && self.metageneration_not_match.is_none_or(|unwanted| live.is_some() && unwanted != metageneration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(query: &str, live: Versions) -> bool {
        Conditions::parse(&Query::parse(Some(query))).unwrap().check(live).is_ok()
    }

    #[test]
    fn each_condition_is_checked() {
        let live = Some((7, 2));
        for (query, there, missing) in [
            ("", true, true),
            ("ifGenerationMatch=0", false, true),
            ("ifGenerationMatch=7", true, false),
            ("ifGenerationMatch=8", false, false),
            ("ifGenerationNotMatch=0", true, false),
            ("ifGenerationNotMatch=7", false, true),
            ("ifGenerationNotMatch=8", true, true),
            ("ifMetagenerationMatch=2", true, false),
            ("ifMetagenerationMatch=3", false, false),
            ("ifMetagenerationNotMatch=2", false, false),
            ("ifMetagenerationNotMatch=3", true, false),
            ("ifGenerationMatch=7&ifMetagenerationMatch=3", false, false),
        ] {
            assert_eq!(holds(query, live), there, "{query}, there");
            assert_eq!(holds(query, None), missing, "{query}, missing");
        }
        assert!(Conditions::parse(&Query::parse(Some("ifGenerationMatch=x"))).is_err());
    }

    #[test]
    fn what_a_reader_has_already_is_not_modified() {
        let unless = Conditions::parse(&Query::parse(Some("ifGenerationNotMatch=7"))).unwrap();
        assert_eq!(unless.check_read(Some((7, 1))).unwrap_err().status, 304);
        assert!(unless.check_read(Some((8, 1))).is_ok());
    }
}

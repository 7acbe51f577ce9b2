//! The names nearest to one that is not there: "did you mean".

/// How alike two names must be, from 0 to 1.
const ALIKE: f64 = 0.7;
/// At most so many are offered.
const OFFERED: usize = 3;

/// The names most like `wanted`, best first.
pub fn closest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let likeness = |name| (likeness(wanted, name), name);
    let mut scored: Vec<(f64, &str)> = names.into_iter().map(likeness).collect();
    scored.retain(|(score, _)| *score >= ALIKE);
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    scored.dedup_by(|a, b| a.1 == b.1);
    let best = scored.into_iter().take(OFFERED);
    best.map(|(_, name)| name.to_owned()).collect()
}

/// Letters swapped, missing, changed or added; upper and lower case are one. One mistake in two letters or more is always alike, and so is the same name in
/// another folder.
fn likeness(wanted: &str, name: &str) -> f64 {
    let (wanted, name) = (wanted.to_lowercase(), name.to_lowercase());
    let whole = strsim::normalized_damerau_levenshtein(&wanted, &name);
    let one_mistake =
        wanted.chars().count() >= 2 && strsim::damerau_levenshtein(&wanted, &name) <= 1;
    let same_name = wanted.rsplit('/').next() == name.rsplit('/').next();
    if one_mistake || same_name {
        whole.max(ALIKE)
    } else {
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn the_nearest_names_come_first_and_strangers_not_at_all() {
        assert_eq!(
            closest("prod/bd", ["prod/db", "prod/db2", "stage/api"]),
            ["prod/db", "prod/db2"]
        );
        assert_eq!(closest("App", ["app", "apps", "personal"]), ["app", "apps"]);
        assert_eq!(
            closest("password", ["prod/db/password"]),
            ["prod/db/password"]
        );
        assert_eq!(closest("ap", ["app", "personal"]), ["app"]);
        assert!(closest("x", ["personal", "y"]).is_empty());
    }
}

//! A page: its commands, what they should print, and the same page with what they printed.

/// One command of a page.
pub struct Step {
    /// The line of the shell.
    pub command: String,
    /// What it prints, with `? N` as its last line when it fails.
    pub expected: String,
    /// Where the expected text is in the page, in lines.
    pub lines: std::ops::Range<usize>,
}

/// The commands of the `console` blocks. A command ends with its line, or goes on after a `\` at its end, in lines that start with `> `.
pub fn steps(page: &str) -> Vec<Step> {
    let lines: Vec<&str> = page.lines().collect();
    let (mut steps, mut inside, mut at) = (Vec::new(), false, 0);
    while at < lines.len() {
        match (inside, lines[at]) {
            (false, "```console") => inside = true,
            (true, "```") => inside = false,
            (true, line) if line.starts_with("$ ") => {
                let mut command = line[2..].to_owned();
                while let Some(more) = lines.get(at + 1).and_then(|l| l.strip_prefix("> ")) {
                    command = format!("{command}\n{more}");
                    at += 1;
                }
                let start = at + 1;
                let end = (start..lines.len())
                    .find(|&i| lines[i] == "```" || lines[i].starts_with("$ "))
                    .unwrap_or(lines.len());
                let expected = text_of(&lines[start..end]);
                steps.push(Step {
                    command,
                    expected,
                    lines: start..end,
                });
                at = end - 1;
            }
            _ => {}
        }
        at += 1;
    }
    steps
}

/// The page with what each command printed.
pub fn rewritten(page: &str, steps: &[Step]) -> String {
    let lines: Vec<&str> = page.lines().collect();
    let (mut out, mut at) = (String::new(), 0);
    for step in steps {
        out.push_str(&text_of(&lines[at..step.lines.start]));
        let old = text_of(&lines[step.lines.clone()]);
        out.push_str(if fits(&old, &step.expected) {
            &old
        } else {
            &step.expected
        });
        at = step.lines.end;
    }
    out + &text_of(&lines[at..])
}

fn text_of(lines: &[&str]) -> String {
    lines.iter().flat_map(|line| [line, "\n"]).collect()
}

/// Whether the text is the expected one, where `[..]` is anything within a line.
pub fn fits(expected: &str, shown: &str) -> bool {
    let (expected, shown): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), shown.lines().collect());
    expected.len() == shown.len() && expected.iter().zip(&shown).all(|(e, s)| line_fits(e, s))
}

fn line_fits(expected: &str, shown: &str) -> bool {
    let mut parts = expected.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = shown.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Both texts, line by line.
pub fn difference(expected: &str, shown: &str) -> String {
    let marked = |sign, text: &str| {
        text.lines()
            .flat_map(|line| ["  ", sign, " ", line, "\n"])
            .map(str::to_owned)
            .collect::<String>()
    };
    marked("-", expected) + &marked("+", shown)
}

#[test]
fn a_wildcard_is_anything_within_a_line() {
    assert!(line_fits("a [..] c", "a b b c") && line_fits("[..]", "") && line_fits("x", "x"));
    assert!(!line_fits("a [..] c", "a b") && !line_fits("x", "xy") && !line_fits("a[..]", "ba"));
}

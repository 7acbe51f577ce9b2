//! Where results go and in which form. Standard output carries what was asked for and nothing else; what a command says about itself goes to standard error.

use super::args::{Color, Format, Global};
use super::progress::Progress;
use super::stop::Stop;
use jiff::Timestamp;
use polykey_client::kinds::{Document, Item, Kind, List};
use serde::Serialize;
use std::fmt::Display;
use std::io::{ErrorKind, IsTerminal, Write};
use unicode_width::UnicodeWidthStr;

/// Spaces between two columns.
const GAP: usize = 2;

/// The form of results, and whether a person reads them.
pub struct Output {
    format: Format,
    quiet: bool,
    terminal: bool,
    paint: Paint,
}

/// How one thing is shown in a table.
pub struct Table<T> {
    /// Headings, upper-case.
    pub columns: &'static [&'static str],
    /// One cell a column.
    pub row: fn(&T, View) -> Vec<String>,
    /// What `-o name` prints.
    pub name: fn(&T) -> String,
}

/// How long ids and times are in cells.
#[derive(Clone, Copy)]
pub struct View {
    whole: bool,
    exact: bool,
    now: Timestamp,
}

impl Output {
    /// As the options say.
    pub fn new(global: &Global) -> Output {
        Output {
            format: if global.verbose && global.format() == Format::Table {
                Format::Wide
            } else {
                global.format()
            },
            quiet: global.quiet,
            terminal: std::io::stdout().is_terminal(),
            paint: Paint::stderr(global.color),
        }
    }

    /// Whether a program reads the result.
    pub fn is_for_programs(&self) -> bool {
        self.format.is_for_programs()
    }

    /// Whether standard output is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// Colours of standard error.
    pub fn paint(&self) -> Paint {
        self.paint
    }

    /// How cells are to be written here.
    pub fn view(&self) -> View {
        View {
            whole: self.format == Format::Wide || !self.terminal,
            exact: !self.terminal,
            now: Timestamp::now(),
        }
    }

    /// Prints many things. `empty` is said on a terminal when there are none.
    pub fn list<T: Item>(&self, items: Vec<T>, table: &Table<T>, empty: &str) -> Result<(), Stop> {
        match self.format {
            Format::Json => json(&List { items }),
            Format::Yaml => yaml(&List { items }),
            Format::Jsonl => items.iter().try_for_each(|item| json_line(item)),
            Format::Name | Format::Table | Format::Wide => self.rows(&items, table, empty),
        }
    }

    /// Prints one more thing of a list that has no end.
    pub fn follow<T: Item>(&self, item: &T, table: &Table<T>) -> Result<(), Stop> {
        match self.format {
            Format::Json | Format::Yaml | Format::Jsonl => json_line(item),
            Format::Name => put(&format!("{}\n", (table.name)(item))),
            Format::Table | Format::Wide => put(&tabbed(&[(table.row)(item, self.view())])),
        }
    }

    /// Prints rows that are no documents: for people and for `-o name`.
    pub fn rows<T>(&self, rows: &[T], table: &Table<T>, empty: &str) -> Result<(), Stop> {
        if self.format == Format::Name {
            return rows
                .iter()
                .try_for_each(|row| put(&format!("{}\n", (table.name)(row))));
        }
        if rows.is_empty() {
            if self.terminal {
                self.say(empty);
            }
            return Ok(());
        }
        put(&self.table(rows, table))
    }

    /// Prints one thing: as a document for programs, else `name` for `-o name`, else nothing, since [`Output::done`] has told it.
    pub fn one<T: Kind>(&self, thing: &T, name: &str) -> Result<(), Stop> {
        match self.format {
            Format::Json => json(thing),
            Format::Yaml => yaml(thing),
            Format::Jsonl => json_line(thing),
            Format::Name => put(&format!("{name}\n")),
            Format::Table | Format::Wide => Ok(()),
        }
    }

    /// Prints one thing: as a document for programs, else as this text.
    pub fn text<T: Kind>(&self, thing: &T, name: &str, text: &str) -> Result<(), Stop> {
        match self.format {
            Format::Table | Format::Wide => put(text),
            _ => self.one(thing, name),
        }
    }

    /// Says on standard error that something is done.
    pub fn done(&self, what: impl Display) {
        if !self.is_for_programs() {
            self.say(format_args!("{} {what}", self.paint.good("✓")));
        }
    }

    /// Says on standard error that something needs a look.
    pub fn warn(&self, what: impl Display) {
        self.say(format_args!("{} {what}", self.paint.warning("!")));
    }

    /// Shows on standard error how far work of `total` bytes is, if a person watches and it takes a while.
    pub fn progress(&self, what: &'static str, total: u64) -> Progress {
        Progress::new(what, total, self.quiet)
    }

    /// Says something on standard error.
    pub fn say(&self, what: impl Display) {
        if !self.quiet {
            let _ = writeln!(std::io::stderr(), "{what}");
        }
    }

    fn table<T>(&self, items: &[T], table: &Table<T>) -> String {
        let view = self.view();
        let rows: Vec<Vec<String>> = items.iter().map(|item| (table.row)(item, view)).collect();
        if self.terminal {
            aligned(table.columns, &rows, Paint::stdout(self.paint))
        } else {
            tabbed(&rows)
        }
    }
}

impl View {
    /// A long id, shortened unless whole ids are wanted.
    pub fn id(self, whole: impl Display, short: impl FnOnce() -> String) -> String {
        if self.whole {
            whole.to_string()
        } else {
            short()
        }
    }

    /// How long ago, or the time itself.
    pub fn time(self, at: Option<Timestamp>) -> String {
        match at {
            None => "-".to_owned(),
            Some(at) if self.exact => at.to_string(),
            Some(at) => ago(self.now, at),
        }
    }

    /// How long from now, or the time itself.
    pub fn until(self, at: Option<Timestamp>) -> String {
        match at {
            None => "-".to_owned(),
            Some(at) if self.exact => at.to_string(),
            Some(at) if at <= self.now => "ended".to_owned(),
            Some(at) => format!("in {}", span(at.as_second() - self.now.as_second())),
        }
    }
}

/// How long before `now` something was, in one unit; a date when it is more than a month.
pub fn ago(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.as_second() - at.as_second();
    match seconds {
        i64::MIN..5 => "just now".to_owned(),
        5..=2_592_000 => format!("{} ago", span(seconds)),
        _ => at.strftime("%Y-%m-%d").to_string(),
    }
}

/// A number of seconds in its largest fitting unit.
pub fn span(seconds: i64) -> String {
    match seconds {
        i64::MIN..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A number of bytes in its largest fitting unit.
pub fn size(bytes: u64) -> String {
    let in_units = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_024 => format!("{bytes} bytes"),
        1_024..0x10_0000 => format!("{} KiB", bytes / 1_024),
        0x10_0000..0x4000_0000 => in_units(0x10_0000) + " MiB",
        _ => in_units(0x4000_0000) + " GiB",
    }
}

/// Writes text to standard output.
pub fn put(text: &str) -> Result<(), Stop> {
    put_bytes(text.as_bytes())
}

/// Writes bytes to standard output, exactly.
pub fn put_bytes(bytes: &[u8]) -> Result<(), Stop> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes)
        .and_then(|()| out.flush())
        .map_err(|e| cannot_print(&e))
}

fn json<T: Kind>(thing: &T) -> Result<(), Stop> {
    put_document(|out| serde_json::to_writer_pretty(out, &Document::of(thing)))
}

fn json_line<T: Kind>(thing: &T) -> Result<(), Stop> {
    put_document(|out| serde_json::to_writer(out, &Document::of(thing)))
}

fn yaml<T: Kind>(thing: &T) -> Result<(), Stop> {
    put(&as_yaml(&Document::of(thing))?)
}

fn put_document(write: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>) -> Result<(), Stop> {
    let mut out = zeroize::Zeroizing::new(Vec::new());
    write(&mut out).map_err(|e| Stop::failed(format!("cannot print the result: {e}")))?;
    out.push(b'\n');
    put_bytes(&out)
}

fn as_yaml<T: Serialize>(document: &T) -> Result<String, Stop> {
    serde_saphyr::to_string(document)
        .map_err(|e| Stop::failed(format!("cannot print the result: {e}")))
}

fn cannot_print(e: &std::io::Error) -> Stop {
    match e.kind() {
        ErrorKind::BrokenPipe => Stop::Pipe,
        _ => Stop::failed(format!("cannot print the result: {e}")),
    }
}

fn tabbed(rows: &[Vec<String>]) -> String {
    rows.iter().map(|row| row.join("\t") + "\n").collect()
}

fn aligned(columns: &[&str], rows: &[Vec<String>], paint: Paint) -> String {
    let header: Vec<String> = columns.iter().map(|&c| c.to_owned()).collect();
    let widths: Vec<usize> = (0..columns.len())
        .map(|i| column_width(&header, rows, i))
        .collect();
    let mut out = paint.faint(&line(&header, &widths)) + "\n";
    for row in rows {
        out.push_str(&line(row, &widths));
        out.push('\n');
    }
    out
}

fn column_width(header: &[String], rows: &[Vec<String>], column: usize) -> usize {
    rows.iter()
        .chain([&header.to_vec()])
        .map(|row| row[column].width())
        .max()
        .unwrap_or(0)
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut out = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        out.push_str(cell);
        out.push_str(&" ".repeat(width + GAP - cell.width().min(width + GAP)));
    }
    out.trim_end().to_owned()
}

/// Colours, if any. A colour never says what a word beside it does not say.
#[derive(Clone, Copy)]
pub struct Paint {
    on: bool,
    when: Color,
}

impl Paint {
    /// Of standard error.
    pub fn stderr(when: Color) -> Paint {
        Paint {
            on: wanted(when, std::io::stderr().is_terminal()),
            when,
        }
    }

    fn stdout(of: Paint) -> Paint {
        Paint {
            on: wanted(of.when, std::io::stdout().is_terminal()),
            when: of.when,
        }
    }

    /// Done.
    pub fn good(self, text: &str) -> String {
        self.with("32", text)
    }

    /// Needs a look.
    pub fn warning(self, text: &str) -> String {
        self.with("33", text)
    }

    /// Went wrong.
    pub fn bad(self, text: &str) -> String {
        self.with("31", text)
    }

    /// Less important.
    pub fn faint(self, text: &str) -> String {
        self.with("2", text)
    }

    fn with(self, code: &str, text: &str) -> String {
        if self.on {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn wanted(when: Color, terminal: bool) -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|v| !v.is_empty() && v != "0");
    match when {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if set("CLICOLOR_FORCE") => true,
        Color::Auto => terminal && std::env::var_os("TERM").is_none_or(|t| t != "dumb"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_by_terminal_cells_and_lines_have_no_space_at_their_end() {
        let rows = vec![
            vec!["鍵".to_owned(), "1".to_owned()],
            vec!["long name".to_owned(), "22".to_owned()],
        ];
        let paint = Paint {
            on: false,
            when: Color::Never,
        };
        assert_eq!(
            aligned(&["NAME", "N"], &rows, paint),
            "NAME       N\n鍵         1\nlong name  22\n"
        );
        assert_eq!(tabbed(&rows), "鍵\t1\nlong name\t22\n");
    }

    #[test]
    fn a_time_is_told_in_its_largest_unit_and_a_clock_ahead_is_now() {
        let at = |s: i64| Timestamp::from_second(10_000_000 + s).expect("in range");
        let now = at(0);
        assert_eq!(ago(now, at(20)), "just now");
        assert_eq!(ago(now, at(-90)), "90 s ago");
        assert_eq!(ago(now, at(-7_200)), "2 h ago");
        assert_eq!(ago(now, at(-172_800)), "2 d ago");
        assert_eq!(ago(now, at(-5_000_000)), "1970-02-27");
    }
}

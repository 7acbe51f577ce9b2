//! From how a person names a version to the version that the agent knows: `~1` and times are looked up in the log.

use super::session::{Session, quoted, reference};
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use polykey_client::api::Version;
use polykey_client::error::{ApiError, Code};
use polykey_client::reference::Revision;

/// How many versions a search by time looks at: all that a person wrote by hand for years.
const SEARCHED: u32 = 10_000;

/// What to ask the agent for: a version or its prefix; `None` is the newest.
pub async fn resolve(
    session: &mut Session,
    vault: &str,
    path: &str,
    wanted: Option<&Revision>,
) -> Result<Option<String>, ApiError> {
    match wanted {
        None | Some(Revision::Back(0)) => Ok(None),
        Some(Revision::Id(id)) => Ok(Some(id.clone())),
        Some(Revision::Back(count)) => {
            let log = session.log(vault, path, count.saturating_add(1)).await?;
            let found = log
                .versions
                .get(usize::try_from(*count).unwrap_or(usize::MAX));
            found
                .map(|v| Some(id(v)))
                .ok_or_else(|| too_few(vault, path, log.versions.len()))
        }
        Some(Revision::At(text)) => {
            let until = end_of(text, &TimeZone::system())?.as_millisecond();
            let log = session.log(vault, path, SEARCHED).await?;
            let before = |v: &&Version| i64::try_from(v.committed_ms).is_ok_and(|ms| ms <= until);
            log.versions
                .iter()
                .find(before)
                .map(|v| Some(id(v)))
                .ok_or_else(|| none_then(vault, path, text, log.versions.len()))
        }
    }
}

fn id(version: &Version) -> String {
    version.version.to_string()
}

/// The last instant that a time names: the end of a day, of a minute, of a second. Without a zone it is the time of this device.
fn end_of(text: &str, here: &TimeZone) -> Result<Timestamp, ApiError> {
    let wrong = || {
        ApiError::new(
            Code::Usage,
            format!("`{text}` is a time that no calendar has"),
        )
    };
    if let Ok(date) = text.parse::<Date>().map_err(|_| wrong())
        && !text.contains('T')
    {
        return zoned(date.to_datetime(Time::MAX), here).ok_or_else(wrong);
    }
    let (clock, zone) = match text
        .rfind(['Z', '+'])
        .or_else(|| text.rfind('-').filter(|&at| at > "2026-11-20T".len()))
    {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let minutes_only = clock.len() == "2026-11-20T09:00".len();
    let clock: DateTime = clock.parse().map_err(|_| wrong())?;
    let end = if minutes_only {
        clock.with().second(59).subsec_nanosecond(999_999_999)
    } else {
        clock.with().subsec_nanosecond(999_999_999)
    };
    let end = end.build().map_err(|_| wrong())?;
    if zone.is_empty() {
        return zoned(end, here).ok_or_else(wrong);
    }
    format!("{end}{zone}").parse().map_err(|_| wrong())
}

fn zoned(at: DateTime, here: &TimeZone) -> Option<Timestamp> {
    here.to_ambiguous_zoned(at)
        .compatible()
        .ok()
        .map(|z: Zoned| z.timestamp())
}

/// A secret that has no version at all is missing, and its nearest names are told by who asked.
fn too_few(vault: &str, path: &str, count: usize) -> ApiError {
    if count == 0 {
        return ApiError::new(Code::NotFound, "");
    }
    let name = reference(vault, path);
    ApiError::new(
        Code::NotFound,
        format!("{name} has no version so far back: {count} in all"),
    )
    .next(format!("polykey log {}", quoted(&name)))
}

fn none_then(vault: &str, path: &str, text: &str, count: usize) -> ApiError {
    if count == 0 {
        return ApiError::new(Code::NotFound, "");
    }
    let name = reference(vault, path);
    ApiError::new(Code::NotFound, format!("{name} had no version at {text}"))
        .next(format!("polykey log {}", quoted(&name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_its_last_instant_in_its_zone_or_in_that_of_the_device() {
        let paris = TimeZone::fixed(jiff::tz::offset(1));
        let at = |text: &str| {
            end_of(text, &paris)
                .map(jiff::Timestamp::as_second)
                .map_err(|e| e.code)
        };
        let second = |text: &str| Ok(text.parse::<Timestamp>().expect("a time").as_second());
        assert_eq!(at("2026-11-20"), second("2026-11-20T22:59:59Z"));
        assert_eq!(at("2026-11-20T09:00"), second("2026-11-20T08:00:59Z"));
        assert_eq!(at("2026-11-20T09:00:30"), second("2026-11-20T08:00:30Z"));
        assert_eq!(at("2026-11-20T09:00Z"), second("2026-11-20T09:00:59Z"));
        assert_eq!(
            at("2026-11-20T09:00:30-02:00"),
            second("2026-11-20T11:00:30Z")
        );
        assert_eq!(at("2026-02-30"), Err(Code::Usage));
        assert_eq!(at("2026-11-20T25:00"), Err(Code::Usage));
    }
}

//! Samples, and the figures that are printed of them.

use std::time::Duration;

/// Times of one thing.
#[derive(Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Takes one.
    pub fn push(&mut self, sample: Duration) {
        self.0.push(sample);
    }

    /// The smallest sample that at least `percent` of all do not exceed; zero of none.
    pub fn percentile(&mut self, percent: usize) -> Duration {
        self.0.sort_unstable();
        let rank = (self.0.len() * percent).div_ceil(100);
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }

    /// `p50 … p99 … least … most …` in milliseconds.
    pub fn line(&mut self) -> String {
        let [p50, p99, least, most] = [50, 99, 0, 100].map(|p| millis(self.percentile(p)));
        format!(
            "p50 {p50:.2} ms   p99 {p99:.2} ms   least {least:.2}   most {most:.2}   ({} samples)",
            self.0.len()
        )
    }
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// How many times `a` is `b`.
pub fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64()
}

/// What else the machine does.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "load {}",
        load.split(' ').take(3).collect::<Vec<_>>().join(" ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_that_were_taken() {
        let mut samples = Samples::default();
        assert_eq!(samples.percentile(50), Duration::ZERO);
        (1..=200)
            .rev()
            .for_each(|n| samples.push(Duration::from_millis(n)));
        let of = |samples: &mut Samples, percent| samples.percentile(percent).as_millis();
        assert_eq!(
            [0, 50, 99, 100].map(|p| of(&mut samples, p)),
            [1, 100, 198, 200]
        );
    }
}

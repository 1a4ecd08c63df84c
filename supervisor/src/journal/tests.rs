//! The journal on real files.

use crate::plan::{Input, Output, PerHost, Plan, Politeness, PoolPlan, When};
use shared::job::{FetchSpec, SandboxLevel, Work};
use shared::select::Field;
use std::time::Duration;

/// A job that fetches `inputs`.
pub(super) fn plan(inputs: &[Input]) -> Plan {
    Plan {
        work: Work::Fetch(FetchSpec {
            timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(10),
            body_bytes_max: 16 << 20,
            redirects_max: 10,
            headers: Vec::new(),
            user_agent: "test".to_owned(),
        }),
        fields: Field::parse_all(&["title=title::text"]).unwrap(),
        parse_timeout: Duration::from_secs(5),
        inputs: inputs.to_vec(),
        output: Output::Discard,
        pool: PoolPlan {
            workers: None,
            mode: None,
            concurrency: None,
            worker_memory_bytes: None,
            recycle_after: None,
        },
        politeness: Politeness { per_host: PerHost::Auto, rate_per_s: None, retries: 2 },
        sandbox: SandboxLevel::Off,
        ordered: false,
        progress: When::Never,
        summary: None,
        report: None,
    }
}

//! A table of the proxies.

use super::html;
use crate::summary::ModeRun;
use crate::units;

/// What each proxy did, if there were any.
pub(super) fn section(runs: &[ModeRun]) -> String {
    let rows: String = runs
        .iter()
        .flat_map(|run| run.summary.proxies.iter().map(move |proxy| (run, proxy)))
        .map(|(run, proxy)| {
            format!(
                "<tr><th scope=row class={mode}>{mode}<td>{}<td>{}<td>{}<td>{}<td>{}<td>{}</tr>\n",
                html::escape(&proxy.proxy),
                units::count(proxy.requests),
                units::count(proxy.ok),
                units::count(proxy.faults),
                units::count(proxy.refused),
                proxy.state,
                mode = run.summary.mode.name(),
            )
        })
        .collect();
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<section id=proxies>\n<h2>Proxies</h2>\n<div class=scroll tabindex=0 role=region aria-label=\"What each proxy did\"><table>\n\
         <thead><tr><th scope=col>mode<th scope=col>proxy<th scope=col>requests<th scope=col>ok<th scope=col>faults\
         <th scope=col>refused<th scope=col>state</tr></thead>\n<tbody>{rows}</tbody></table></div></section>\n"
    )
}

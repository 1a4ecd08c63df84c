//! What an output begins with, before its first record, and how its records are
//! then encoded: a web archive says who wrote it, a table what its columns are.

use shared::job::RecordEncoding;

use crate::archive;
use crate::columns;
use crate::format::Format;
use crate::plan::Plan;
use crate::sink::{Outlet, SinkError};

/// How the records of `plan` are encoded. Puts what stands before them into an outlet that is empty;
/// goes on with one that is not.
///
/// # Errors
/// When it cannot be written, or what is there does not begin like that.
pub(crate) fn begin(plan: &Plan, outlet: &mut Outlet) -> Result<RecordEncoding, SinkError> {
    if plan.is_derived() {
        return Ok(RecordEncoding::JsonLine);
    }
    if let Format::Warc { gzip } = plan.format {
        return archive::begin(plan, gzip, outlet).map(RecordEncoding::Warc);
    }
    let Some(rows) = columns::delimited(plan) else { return Ok(RecordEncoding::JsonLine) };
    if outlet.committed_len() == 0 {
        let mut header = Vec::new();
        rows.header(&mut header);
        outlet.write(&header)?;
    }
    Ok(RecordEncoding::Row(rows))
}

//! Moves needed chunks out of packs that are mostly dead, small or on their way out.
//!
//! Every chunk is opened, hashed again and sealed in a new frame: copying sealed bytes would show frame boundaries as
//! common parts of an old and a new pack (SPEC.md section 11).

use std::collections::BTreeSet;

use repo_format::{Class, Compression, PackOrdinal};

use super::{PruneError, needed::Needed};
use crate::{
    frame_writer::FrameWriter,
    monitor::{Event, Monitor, Step},
    pack_reader::{FrameBuffers, PackReader},
    problem::{Problem, is_loss},
    repository::Writer,
    session::Session,
};

/// Moves what is needed of `from` into new packs. A frame that cannot be read keeps its pack: [`super::confirm`] will not
/// find its chunks elsewhere. Gives the bytes of the new packs.
pub(super) fn repack(
    writer: &mut Writer,
    from: &BTreeSet<PackOrdinal>,
    needed: &Needed,
    compression: Compression,
    monitor: &dyn Monitor,
    problems: &mut Vec<Problem>,
) -> Result<u64, PruneError> {
    let total_bytes = from.iter().filter_map(|pack| writer.state().pack(*pack)).map(|pack| pack.bytes).sum();
    monitor.event(&Event::Phase { name: "repack", total_bytes });
    let mut session = Session::open_to_move(writer, from)?;
    match copy_needed(&mut session, from, needed, compression, monitor, problems) {
        Ok(()) => {
            let durable = session.flush()?;
            let stored_bytes = durable.stored_bytes();
            let from: Vec<PackOrdinal> = from.iter().copied().collect();
            session.commit_moved(&from, durable)?;
            Ok(stored_bytes)
        }
        Err(error) => {
            session.close_unused()?;
            Err(error)
        }
    }
}

fn copy_needed(
    session: &mut Session<'_>,
    from: &BTreeSet<PackOrdinal>,
    needed: &Needed,
    compression: Compression,
    monitor: &dyn Monitor,
    problems: &mut Vec<Problem>,
) -> Result<(), PruneError> {
    let mut data = session.frame_writer(Class::Data, compression)?;
    let mut metadata = session.frame_writer(Class::Metadata, compression)?;
    let mut buffers = FrameBuffers::new().map_err(crate::read_error::ReadError::from)?;
    for ordinal in from {
        let pack = match session.writer().pack(*ordinal) {
            Ok(pack) => pack,
            Err(error) if is_loss(error.kind()) => {
                problems.push(Problem::new(format_args!("{ordinal}"), format_args!("is not rewritten: {error}")));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let frames = match pack.class() {
            Class::Data => &mut data,
            Class::Metadata => &mut metadata,
        };
        copy_pack(session, &pack, needed, frames, &mut buffers, monitor, problems)?;
    }
    data.flush()?;
    metadata.flush()?;
    Ok(())
}

fn copy_pack(
    session: &Session<'_>,
    pack: &PackReader,
    needed: &Needed,
    frames: &mut FrameWriter,
    buffers: &mut FrameBuffers,
    monitor: &dyn Monitor,
    problems: &mut Vec<Problem>,
) -> Result<(), PruneError> {
    let keys = std::sync::Arc::clone(session.writer().keys());
    for (number, frame) in (0_u32..).zip(pack.directory().frames()) {
        if monitor.interrupted() {
            return Err(PruneError::Interrupted);
        }
        monitor.advance(Step { done_bytes: u64::from(frame.sealed_bytes), new_bytes: 0 });
        if !frame.chunks.iter().any(|chunk| needed.contains(&chunk.id)) {
            continue;
        }
        let object = format_args!("pack {}: frame {number}", pack.name()).to_string();
        let open = match pack.read_frame(number, buffers) {
            Ok(open) => open,
            Err(error) if is_loss(error.kind()) => {
                problems.push(Problem::new(object, format_args!("is not moved: {error}")));
                continue;
            }
            Err(error) => return Err(crate::read_error::ReadError::from(error).into()),
        };
        for (position, chunk) in frame.chunks.iter().enumerate().filter(|(_, chunk)| needed.contains(&chunk.id)) {
            match open.chunk(position, &keys) {
                Ok(hashed) if hashed.id() == chunk.id => drop(frames.store(hashed)?),
                Ok(_) => problems.push(Problem::new(&object, "holds another chunk than its directory says")),
                Err(error) => problems.push(Problem::new(&object, format_args!("is not moved: {error}"))),
            }
        }
    }
    Ok(())
}

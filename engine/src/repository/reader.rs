//! The handles.

use std::{
    collections::{HashMap, HashSet},
    ops::Deref,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use repo_format::{
    ChunkId, Class, Config, HashedChunk, Keyring, MetadataChunk, MetadataKind, OpenFrame, PackOrdinal, Record,
    RepositoryKeys, RestorePoint, SlotId,
};

use super::Environment;
use crate::{
    catalog::Catalog,
    index::{Index, Location},
    index_sync::IndexSync,
    log::{Appended, Log, LogError, LogHead, PackStatus, PointState, Refusal, State},
    pack_reader::{FrameBuffers, PackError, PackReader},
    read_error::ReadError,
};

/// Open packs and opened metadata frames kept for the next question.
const PACKS_KEPT: usize = 128;
const FRAMES_KEPT: usize = 16;

/// An opened frame and where it lies: pack and frame.
type KeptFrame = ((PackOrdinal, u32), Arc<OpenFrame>);

/// May read everything of one repository. Shared by threads.
pub struct Reader {
    pub(crate) environment: Environment,
    pub(crate) config: Config,
    pub(crate) keys: Arc<Keyring>,
    pub(crate) repository_keys: RepositoryKeys,
    pub(crate) slot: SlotId,
    pub(crate) log: Log,
    catalog: OnceLock<Catalog>,
    index: OnceLock<Index>,
    packs: Mutex<HashMap<PackOrdinal, PackReader>>,
    frames: Mutex<Vec<KeptFrame>>,
}

/// May add to one repository: everything a [`Reader`] may, and write.
pub struct Writer(pub(crate) Reader);

impl Writer {
    /// Adds to the log what `decide` makes of the state at the head; if it makes nothing, nothing is written.
    pub(crate) fn append(
        &mut self,
        decide: &mut dyn FnMut(&State) -> Result<Vec<Record>, Refusal>,
    ) -> Result<Appended, LogError> {
        let Reader { log, environment, .. } = &mut self.0;
        log.append(environment.clock.as_ref(), environment.entropy.as_ref(), decide)
    }

    /// Writes a checkpoint of the log if one is due: for the speed of those who open the repository next. That it fails is no
    /// failure of the run that has just ended.
    pub(crate) fn leave_checkpoint(&mut self) {
        let Reader { log, environment, .. } = &mut self.0;
        let _ = log.checkpoint_if_due(environment.clock.as_ref(), environment.entropy.as_ref());
    }

    /// Keeps the head on this host, so that a shorter history is noticed. Comfort after what is in the log already: a state
    /// folder that cannot be written undoes nothing.
    pub(crate) fn remember_head(&self) {
        let _ = self.environment.state.remember_head(&self.config.repository, self.head());
    }
}

impl Deref for Writer {
    type Target = Reader;

    fn deref(&self) -> &Reader {
        &self.0
    }
}

impl Reader {
    pub(super) fn new(
        environment: Environment,
        config: Config,
        keys: Arc<Keyring>,
        repository_keys: RepositoryKeys,
        slot: SlotId,
        log: Log,
    ) -> Self {
        Self {
            environment,
            config,
            keys,
            repository_keys,
            slot,
            log,
            catalog: OnceLock::new(),
            index: OnceLock::new(),
            packs: Mutex::default(),
            frames: Mutex::default(),
        }
    }

    /// The parameters of the repository.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The working keys.
    pub fn keys(&self) -> &Arc<Keyring> {
        &self.keys
    }

    /// The key slot that opened the repository.
    pub fn slot(&self) -> SlotId {
        self.slot
    }

    /// What the log says exists.
    pub fn state(&self) -> &State {
        self.log.state()
    }

    /// The log itself, for its void records.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// The newest entry of the log.
    pub fn head(&self) -> LogHead {
        self.log.head()
    }

    /// What the client has brought along.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// The catalogue; a temporary one where the cache folder cannot be used.
    pub(crate) fn catalog(&self) -> Result<&Catalog, ReadError> {
        if let Some(catalog) = self.catalog.get() {
            return Ok(catalog);
        }
        let cached = self.environment.cache.as_ref().and_then(|cache| Catalog::open(cache, &self.keys).ok());
        let catalog = match cached {
            Some(catalog) => catalog,
            None => Catalog::temporary(&self.keys)?,
        };
        Ok(self.catalog.get_or_init(|| catalog))
    }

    /// The index over all packs that are there, brought up to the log when first asked for.
    pub(crate) fn index(&self) -> Result<&Index, ReadError> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = self.build_index()?;
        Ok(self.index.get_or_init(|| index))
    }

    /// The packs whose directories are in the index.
    pub(crate) fn indexed_packs(&self) -> Result<HashSet<PackOrdinal>, ReadError> {
        self.index()?;
        let (_, rows) = self.catalog()?.index(&self.keys)?;
        Ok(rows.iter().flat_map(|row| row.ordinals.iter().cloned().flatten()).map(PackOrdinal).collect())
    }

    /// The index is wrong somewhere: forget all of it, so that the next use makes it anew.
    pub(crate) fn forget_index(&mut self) -> Result<(), ReadError> {
        self.catalog()?.forget_runs()?;
        self.index = OnceLock::new();
        Ok(())
    }

    /// Takes in what others have written since.
    pub(crate) fn refresh(&mut self) -> Result<(), LogError> {
        self.log.refresh()?;
        self.reload_index();
        Ok(())
    }

    /// Drops what was read of the index, so that the next use sees what has been added.
    pub(crate) fn reload_index(&mut self) {
        self.index = OnceLock::new();
    }

    pub(crate) fn index_sync(&self) -> Result<IndexSync<'_>, ReadError> {
        Ok(IndexSync { catalog: self.catalog()?, keys: &self.keys, entropy: self.environment.entropy.as_ref() })
    }

    fn build_index(&self) -> Result<Index, ReadError> {
        let there =
            self.state().packs().filter(|(_, pack)| pack.status != PackStatus::Deleted).map(|(ordinal, _)| ordinal);
        self.index_sync()?.bring_up_to_date(there, &|ordinal| self.open_pack(ordinal))
    }

    /// Where each of `ids` lies, `None` if nowhere. Any pack that is not deleted counts: a reader takes what it finds.
    pub fn locate(
        &self,
        ids: &mut dyn Iterator<Item = ChunkId>,
        found: &mut dyn FnMut(ChunkId, Option<Location>),
    ) -> Result<(), ReadError> {
        let index = self.index()?;
        let readable = |pack| self.state().pack(pack).is_some_and(|pack| pack.status != PackStatus::Deleted);
        ids.for_each(|id| found(id, index.locate(&id, &readable)));
        Ok(())
    }

    /// Every place that holds `id`: where else to look when one is damaged.
    pub fn locate_all(&self, id: &ChunkId) -> Result<Vec<Location>, ReadError> {
        Ok(self.index()?.locate_all(id))
    }

    /// Opens a pack, or gives the one opened before.
    pub fn pack(&self, ordinal: PackOrdinal) -> Result<PackReader, ReadError> {
        if let Some(pack) = self.packs.lock().unwrap_or_else(PoisonError::into_inner).get(&ordinal) {
            return Ok(pack.clone());
        }
        let pack = self.open_pack(ordinal)?;
        let mut packs = self.packs.lock().unwrap_or_else(PoisonError::into_inner);
        if packs.len() >= PACKS_KEPT {
            packs.clear();
        }
        packs.insert(ordinal, pack.clone());
        Ok(pack)
    }

    fn open_pack(&self, ordinal: PackOrdinal) -> Result<PackReader, PackError> {
        let nowhere = || PackError::Unregistered { ordinal };
        let pack = self.state().pack(ordinal).ok_or_else(nowhere)?;
        let shard_bytes = u64::from(self.config.shard_bytes());
        PackReader::open(&self.environment.store, &self.keys, pack.name, ordinal, pack.bytes, shard_bytes)
    }

    /// Reads a metadata chunk: located, opened, hashed again, of the kind that is wanted.
    pub fn metadata(&self, id: ChunkId, kind: MetadataKind) -> Result<MetadataChunk, ReadError> {
        let chunk = self.metadata_of_any_kind(id)?;
        chunk.payload_of(kind).map_err(|source| ReadError::Chunk { id, source })?;
        Ok(chunk)
    }

    fn metadata_of_any_kind(&self, id: ChunkId) -> Result<MetadataChunk, ReadError> {
        let index = self.index()?;
        let readable = |pack| self.state().pack(pack).is_some_and(|pack| pack.status != PackStatus::Deleted);
        let first = index.locate(&id, &readable).ok_or(ReadError::Missing { id })?;
        self.metadata_at(id, first).or_else(|error| {
            let others = index.locate_all(&id).into_iter().filter(|other| *other != first && readable(other.pack));
            others.map(|other| self.metadata_at(id, other)).find_map(Result::ok).ok_or(error)
        })
    }

    fn metadata_at(&self, id: ChunkId, location: Location) -> Result<MetadataChunk, ReadError> {
        let frame = self.metadata_frame(location)?;
        let position = usize::try_from(location.position).unwrap_or(usize::MAX);
        let chunk_error = |source| ReadError::Chunk { id, source };
        let bytes = frame.chunk(position, &self.keys).map_err(chunk_error)?.bytes();
        let checked = HashedChunk::expect(Class::Metadata, id, bytes, &self.keys).map_err(chunk_error)?;
        MetadataChunk::from_bytes(checked.bytes().to_vec()).map_err(chunk_error)
    }

    /// Map walks ask for neighbours: keep the frames opened last.
    fn metadata_frame(&self, location: Location) -> Result<Arc<OpenFrame>, ReadError> {
        let key = (location.pack, location.frame);
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = frames.iter().position(|(found, _)| *found == key) {
            let entry = frames.remove(at);
            let frame = Arc::clone(&entry.1);
            frames.push(entry);
            return Ok(frame);
        }
        drop(frames);
        let frame = Arc::new(self.pack(location.pack)?.read_frame(location.frame, &mut FrameBuffers::new()?)?);
        let mut frames = self.frames.lock().unwrap_or_else(PoisonError::into_inner);
        if frames.len() >= FRAMES_KEPT {
            frames.remove(0);
        }
        frames.push((key, Arc::clone(&frame)));
        Ok(frame)
    }

    /// The record of a restore point, from the catalogue if it is there. Hashed again in either case.
    pub fn restore_point(&self, id: ChunkId) -> Result<RestorePoint, ReadError> {
        let decode =
            |chunk: &MetadataChunk| RestorePoint::decode(chunk).map_err(|source| ReadError::Chunk { id, source });
        if let Some(chunk) = self.catalog()?.record(&id)
            && HashedChunk::of_metadata(&chunk, &self.keys).id() == id
        {
            return decode(&chunk);
        }
        let chunk = self.metadata(id, MetadataKind::RestorePoint)?;
        let point = decode(&chunk)?;
        self.catalog()?.remember_record(id, chunk)?;
        Ok(point)
    }

    /// Live restore points in log order, each with its record or why that cannot be read.
    pub fn live_points(&self) -> impl Iterator<Item = (&PointState, Result<RestorePoint, ReadError>)> {
        let live = self.state().points().iter().filter(|point| point.is_live());
        live.map(|point| (point, self.restore_point(point.id)))
    }
}

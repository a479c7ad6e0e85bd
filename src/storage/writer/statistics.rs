//! What operators may want to know of the journal.

/// Counts since the start, and the state of now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Frames that were appended.
    pub frames: u64,
    /// Bytes that were appended, headers included.
    pub bytes: u64,
    /// Appends that were synced. `frames / syncs` shared one.
    pub syncs: u64,
    /// Time that syncs took together, microseconds.
    pub sync_us: u64,
    /// Time that the slowest took, microseconds.
    pub sync_us_max: u64,
    /// Frames that came while the disk was full or failed, and were not written.
    pub refused_frames: u64,
    /// How often the disk was full or failed.
    pub failures: u64,
    /// Checkpoints that were completed.
    pub checkpoints: u64,
    /// Files that could not be removed or renamed.
    pub left_files: u64,
    /// Recovery would begin with this segment.
    pub base: u64,
    /// The newest segment.
    pub newest: u64,
    /// Segments on disk.
    pub segments: u64,
    /// Bytes of them.
    pub disk_bytes: u64,
    /// What the last complete checkpoint came to: about the size of the live state.
    pub image_bytes: u64,
    /// Bytes that came since.
    pub since_bytes: u64,
    /// Number of the last checkpoint that was begun.
    pub generation: u64,
    /// It is not complete.
    pub is_checkpointing: bool,
    /// The disk is full or failed: nothing is reported durable.
    pub is_down: bool,
}

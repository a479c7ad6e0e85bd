//! What the journal asks of a disk: files in one folder that are appended to, synced, read whole and removed. Small, so that the
//! simulated one can be as treacherous as a real one.

use std::io;

/// A folder of files. Names are file names without a path.
///
/// What was appended is there after a crash only if a `sync` of the file came after it and succeeded; that the file is there
/// at all, or no more, needs a `sync_names` after `create`, `rename` or `remove`. After a failed `sync` nobody knows what
/// was kept, and a later one that succeeds says nothing about it.
pub trait Disk {
    /// An open file that is appended to.
    type File;

    /// Names of all files, in any order.
    ///
    /// # Errors
    /// The folder can't be read.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A new, empty file.
    ///
    /// # Errors
    /// It exists already, or the system refuses.
    fn create(&mut self, name: &str) -> io::Result<Self::File>;

    /// Appends all of `parts`, in order. After an error any prefix of them may be there.
    ///
    /// # Errors
    /// `StorageFull` where no space is left, or what the system says.
    fn append(&mut self, file: &mut Self::File, parts: &[&[u8]]) -> io::Result<()>;

    /// Makes what was appended outlast a loss of power.
    ///
    /// # Errors
    /// What the system says; see above.
    fn sync(&mut self, file: &mut Self::File) -> io::Result<()>;

    /// The same for a file that another process wrote, whose bytes may be in memory only.
    ///
    /// # Errors
    /// There is no such file, or what the system says.
    fn sync_existing(&mut self, name: &str) -> io::Result<()>;

    /// Cuts a file to its first `len` bytes.
    ///
    /// # Errors
    /// What the system says.
    fn cut(&mut self, file: &mut Self::File, len: u64) -> io::Result<()>;

    /// Makes created, renamed and removed names outlast a loss of power.
    ///
    /// # Errors
    /// What the system says.
    fn sync_names(&mut self) -> io::Result<()>;

    /// All bytes of a file from `offset` on, `len` at most.
    ///
    /// # Errors
    /// There is no such file, or it can't be read.
    fn read(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// Bytes of a file.
    ///
    /// # Errors
    /// There is no such file.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Gives a file another name.
    ///
    /// # Errors
    /// There is no such file, or the system refuses.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// There is no such file, or the system refuses.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

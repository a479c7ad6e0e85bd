//! The shard's receive buffers, shared by all its rings.
//!
//! A RECV with MSG_DONTWAIT completes while it is submitted, so a buffer is bound for one submission only and
//! the shard itself can say which: no ring of provided buffers per data ring, hence no kernel memory for them
//! and the same megabyte serves any number of rings. When all are in use the rest wait for the next turn
//! (pitfall 10, without ENOBUFS).

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};

/// Buffers whose memory is not worth a system call.
const FEW: usize = 4;
/// Bytes per buffer.
pub(crate) const BUFFER_LEN: usize = 16 * 1024;

/// A fixed number of buffers in one block; only those ever used become resident.
pub(crate) struct ReceiveBuffers {
    block: *mut u8,
    count: usize,
    free: Vec<u16>,
    /// More than a few were taken at a time since the last [`ReceiveBuffers::trim`].
    is_busy: bool,
}

impl ReceiveBuffers {
    fn layout(count: usize) -> Layout {
        // At most 65,535 buffers: far below isize::MAX. The alignment is one for which zeroed memory comes
        // fresh from the kernel, not touched yet.
        Layout::from_size_align(count * BUFFER_LEN, 16).unwrap_or(Layout::new::<[u8; BUFFER_LEN]>())
    }

    /// `count` buffers.
    pub(crate) fn new(count: u16) -> Self {
        let count = usize::from(count.max(1));
        // SAFETY: the layout has a size above 0.
        let block = unsafe { alloc_zeroed(Self::layout(count)) };
        if block.is_null() {
            handle_alloc_error(Self::layout(count));
        }
        // The last freed is taken first: few buffers stay in the cache, the rest is never touched.
        Self { block, count, free: (0..count as u16).rev().collect(), is_busy: false }
    }

    /// Takes a buffer: its number and address.
    pub(crate) fn take(&mut self) -> Option<(u16, *mut u8)> {
        let buffer = self.free.pop()?;
        self.is_busy |= self.free.len() + FEW < self.count;
        Some((buffer, self.address(buffer)))
    }

    fn address(&self, buffer: u16) -> *mut u8 {
        debug_assert!(usize::from(buffer) < self.count);
        // SAFETY: `buffer` is below `count`, so the offset stays within the block.
        unsafe { self.block.add(usize::from(buffer) * BUFFER_LEN) }
    }

    /// The first `len` bytes of a taken buffer that the kernel has filled.
    ///
    /// # Safety
    /// The completion that filled it has been seen, and the slice is not used after the buffer is given back.
    pub(crate) unsafe fn filled<'a>(&self, buffer: u16, len: usize) -> &'a [u8] {
        // SAFETY: within the block (initialised at birth); the caller vouches for the lifetime.
        unsafe { std::slice::from_raw_parts(self.address(buffer), len.min(BUFFER_LEN)) }
    }

    /// Gives a buffer back.
    pub(crate) fn give(&mut self, buffer: u16) {
        debug_assert!(!self.free.contains(&buffer), "a receive buffer came back twice");
        self.free.push(buffer);
    }

    /// Gives the memory of the buffers back to the system, if none is taken. They are filled anew at the next use.
    pub(crate) fn trim(&mut self) {
        if self.free.len() < self.count || !std::mem::take(&mut self.is_busy) {
            return;
        }
        let page_len = crate::sys::page_len();
        // SAFETY: the whole pages within the block, which is ours, private and anonymous; no buffer is in use.
        unsafe {
            let skip = self.block.align_offset(page_len);
            let len = (self.count * BUFFER_LEN).saturating_sub(skip) / page_len * page_len;
            libc::madvise(self.block.add(skip).cast(), len, libc::MADV_DONTNEED);
        }
    }

    /// Buffers that can be taken now.
    pub(crate) fn available(&self) -> usize {
        self.free.len()
    }
}

impl Drop for ReceiveBuffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout.
        unsafe { dealloc(self.block, Self::layout(self.count)) }
    }
}

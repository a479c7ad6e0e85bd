//! Asks the process's allocator to give memory that nobody uses back to the system.

// Its C library has what is called below.
use libmimalloc_sys as _;

unsafe extern "C" {
    fn mi_collect(force: bool);
}

/// Gives back what this thread's heap holds without need: free pages, and blocks that other threads freed. `all`: every
/// free page, at the price of asking the system for some of them again soon; costs up to some milliseconds.
pub fn give_memory_back(all: bool) {
    // SAFETY: works on the calling thread's own heap, takes no pointer, and may be called at any time.
    unsafe { mi_collect(all) }
}

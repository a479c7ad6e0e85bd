//! Pages: how a list is asked for and answered, and what one answer may cost.

/// Places looked at for one answer, where nothing is found: about 50 microseconds.
const BUDGET: usize = 2048;
/// What an item costs more than a place that is passed over: names are copied.
const ITEM_COST: usize = 8;
/// Items of one answer at most.
pub const ITEMS_MAX: usize = BUDGET / ITEM_COST;

/// A list is asked for.
#[derive(Debug, Clone)]
pub struct Listing<S, P> {
    /// What is wanted of it.
    pub selection: S,
    /// Where to begin: `next` of the page before; `None`: at the beginning.
    pub from: Option<P>,
    /// So many items at most.
    pub limit: usize,
}

/// A part of a list. It may be empty and not the last.
#[derive(Debug)]
pub struct Page<T, P> {
    /// What was found.
    pub items: Vec<T>,
    /// Where to go on; `None`: this was the end.
    pub next: Option<P>,
}

/// What is left for one answer.
#[derive(Debug)]
pub(super) struct Budget {
    left: usize,
    items_left: usize,
}

impl Budget {
    /// For an answer of at most `limit` items, and at least one.
    pub(super) fn new(limit: usize) -> Self {
        Self { left: BUDGET, items_left: limit.clamp(1, ITEMS_MAX) }
    }

    /// Something was looked at that cost as much as `places`.
    pub(super) fn spend(&mut self, places: usize) {
        self.left = self.left.saturating_sub(places);
    }

    /// Something was found.
    pub(super) fn spend_item(&mut self) {
        self.spend(ITEM_COST);
        self.items_left -= 1;
    }

    /// Whether the answer ends here.
    pub(super) const fn is_spent(&self) -> bool {
        self.left == 0 || self.items_left == 0
    }

    /// Items that may still be found.
    pub(super) const fn items_left(&self) -> usize {
        self.items_left
    }
}

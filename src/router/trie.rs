//! The filters with wildcards: a trie of levels. Nodes are slab entries; all edges are in one table keyed by parent
//! and level, so that a node costs the same with one child as with a million.
//! A level `+` is a node like any other, found through its parent; a final `#` is no node but a mark on its parent.

use super::FilterId;
use crate::slab::{ChunkedSlab, KeyTable, ShortText};
use crate::topic::levels;
use ahash::RandomState;
use smallvec::SmallVec;

const NONE: u32 = u32::MAX;
/// The parent of all; not in the slab, so that an empty trie owns no memory.
const ROOT: u32 = u32::MAX - 1;

#[derive(Debug)]
pub(super) struct Trie {
    root: Links,
    nodes: ChunkedSlab<Node>,
    /// `(parent, level)` to node, for levels that are no wildcard.
    edges: KeyTable,
    hasher: RandomState,
}

#[derive(Debug)]
struct Node {
    level: ShortText,
    parent: u32,
    links: Links,
}

/// What hangs below a node.
#[derive(Debug, Clone, Copy)]
struct Links {
    /// Children that are found through the table of edges.
    literals: u32,
    /// The child `+`.
    plus: u32,
    /// The filter that ends here.
    filter: u32,
    /// The filter that ends here with `/#`.
    multi: u32,
}

impl Links {
    const EMPTY: Self = Self { literals: 0, plus: NONE, filter: NONE, multi: NONE };

    const fn is_empty(&self) -> bool {
        self.literals == 0 && self.plus == NONE && self.filter == NONE && self.multi == NONE
    }
}

impl Trie {
    pub(super) const fn new(hasher: RandomState) -> Self {
        Self { root: Links::EMPTY, nodes: ChunkedSlab::new(), edges: KeyTable::new(), hasher }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.root.is_empty()
    }

    #[cfg(test)]
    pub(super) const fn nodes_len(&self) -> usize {
        self.nodes.len()
    }

    #[cfg(test)]
    pub(super) const fn edges_len(&self) -> usize {
        self.edges.len()
    }

    /// The filter of exactly this text.
    pub(super) fn find(&self, filter: &str) -> Option<FilterId> {
        let mut node = ROOT;
        for level in levels(filter) {
            match level {
                "#" => return FilterId::some(self.links(node)?.multi),
                level => node = self.child(node, level)?,
            }
        }
        FilterId::some(self.links(node)?.filter)
    }

    /// Adds a filter that is not there yet.
    pub(super) fn insert(&mut self, filter: &str, id: FilterId) {
        let mut node = ROOT;
        for level in levels(filter) {
            if level == "#" {
                return self.change(node, |links| links.multi = id.0);
            }
            node = match self.child(node, level) {
                Some(child) => child,
                None => self.add_child(node, level),
            };
        }
        self.change(node, |links| links.filter = id.0);
    }

    /// Takes a filter out, and the nodes that led to it alone.
    pub(super) fn remove(&mut self, filter: &str) {
        let mut node = ROOT;
        let mut multi = false;
        for level in levels(filter) {
            if level == "#" {
                multi = true;
                break;
            }
            match self.child(node, level) {
                Some(child) => node = child,
                None => return,
            }
        }
        self.change(node, |links| *if multi { &mut links.multi } else { &mut links.filter } = NONE);
        while let Some(entry) = self.nodes.get(node)
            && entry.links.is_empty()
        {
            node = self.remove_leaf(node);
        }
    }

    /// Appends the filters that match a Topic Name. The work is bounded by the nodes that match its beginnings: at
    /// most two a level for each node of the level before, and never more than there are nodes.
    pub(super) fn matching(&self, topic: &str, out: &mut Vec<FilterId>) {
        // Not `levels`, because slices of bytes split in a third of the time.
        let mut rest = topic.as_bytes().split(|byte| *byte == b'/');
        let Some(first) = rest.next() else { return };
        // Nodes that match so far, each with the levels that are still to match.
        let mut paths: SmallVec<[_; 8]> = SmallVec::new();
        // A filter that begins with a wildcard does not match a topic that begins with `$` [MQTT-4.7.2-1].
        if !first.starts_with(b"$") {
            out.extend(FilterId::some(self.root.multi));
            if self.root.plus != NONE {
                paths.push((self.root.plus, rest.clone()));
            }
        }
        if let Some(child) = self.literal_child(&self.root, ROOT, first) {
            paths.push((child, rest));
        }
        while let Some((mut node, mut rest)) = paths.pop() {
            while let Some(links) = self.links(node) {
                // The parent level too: `a/#` matches `a`.
                out.extend(FilterId::some(links.multi));
                let Some(level) = rest.next() else {
                    out.extend(FilterId::some(links.filter));
                    break;
                };
                match (self.literal_child(links, node, level), links.plus) {
                    (None, NONE) => break,
                    (None, plus) => node = plus,
                    (Some(child), NONE) => node = child,
                    (Some(child), plus) => {
                        paths.push((plus, rest.clone()));
                        node = child;
                    }
                }
            }
        }
    }

    fn links(&self, node: u32) -> Option<&Links> {
        if node == ROOT { Some(&self.root) } else { self.nodes.get(node).map(|node| &node.links) }
    }

    fn change(&mut self, node: u32, change: impl FnOnce(&mut Links)) {
        if node == ROOT {
            change(&mut self.root);
        } else if let Some(node) = self.nodes.get_mut(node) {
            change(&mut node.links);
        }
    }

    fn child(&self, node: u32, level: &str) -> Option<u32> {
        let links = self.links(node)?;
        if level == "+" {
            (links.plus != NONE).then_some(links.plus)
        } else {
            self.literal_child(links, node, level.as_bytes())
        }
    }

    #[inline]
    fn literal_child(&self, links: &Links, node: u32, level: &[u8]) -> Option<u32> {
        if links.literals == 0 {
            return None;
        }
        self.edges.find(self.hasher.hash_one((node, level)), |child| {
            self.nodes.get(child).is_some_and(|child| child.parent == node && child.level.as_bytes() == level)
        })
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let child = self.nodes.insert(Node { level: level.into(), parent, links: Links::EMPTY });
        if level == "+" {
            self.change(parent, |links| links.plus = child);
            return child;
        }
        self.edges.insert(self.hasher.hash_one((parent, level.as_bytes())), child);
        self.change(parent, |links| links.literals += 1);
        child
    }

    /// Removes a node below which nothing hangs; its parent.
    fn remove_leaf(&mut self, leaf: u32) -> u32 {
        let Some(Node { level, parent, .. }) = self.nodes.remove(leaf) else { return NONE };
        if self.links(parent).is_some_and(|links| links.plus == leaf) {
            self.change(parent, |links| links.plus = NONE);
        } else {
            self.edges.remove(self.hasher.hash_one((parent, level.as_bytes())), |child| child == leaf);
            self.change(parent, |links| links.literals -= 1);
        }
        parent
    }
}

impl FilterId {
    fn some(id: u32) -> Option<Self> {
        (id != NONE).then_some(Self(id))
    }
}

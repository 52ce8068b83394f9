//! A tree of topic levels with numbers at the nodes that have a meaning to its owner. A step down is one look-up,
//! whatever the number of siblings.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use slab::Slab;

use super::level::{Level, LongLevels, PLUS};
use super::table::Table;

/// A node's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Trie {
    long: LongLevels,
    nodes: Slab<Node>,
    /// (parent, level) → node; the pair is in the node.
    edges: Table,
    hasher: FixedState,
    root: NodeId,
}

/// First what a match looks at, which is one cache line for most.
#[derive(Debug)]
#[repr(C)]
struct Node {
    level: Level,
    parent: u32,
    value: u32,
    /// The value of `#` behind this node, which every match asks for; it needs no node of its own.
    below: u32,
    /// The child `+`, which every match asks for, too.
    plus: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    /// Whether no wildcard stands for it: in the first level, what begins with `$` [MQTT-4.7.2-1].
    hidden: bool,
    /// Whether it has exactly one child.
    lone_child: bool,
}

/// There are as many nodes as there are topics, or more.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Option<Node>>() == 48);

impl Trie {
    /// `secret` keeps outsiders from choosing levels that collide.
    pub(crate) fn new(secret: u64) -> Self {
        let mut nodes = Slab::new();
        let root = NodeId(nodes.insert(Node::new(NONE, Level::default(), false)) as u32);
        let hasher = FixedState::with_seed(secret);
        Self { long: LongLevels::new(secret), nodes, edges: Table::default(), hasher, root }
    }

    pub(crate) const fn root(&self) -> NodeId {
        self.root
    }

    /// Whether nothing is in the tree.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.node(self.root).below == NONE
    }

    /// The nodes that were inserted, those on the way to others included.
    pub(crate) fn len(&self) -> usize {
        self.nodes.len() - 1
    }

    /// How many nodes it would take to insert these levels.
    pub(crate) fn missing<'a>(&self, mut levels: impl Iterator<Item = &'a str>) -> usize {
        let mut node = self.root;
        while let Some(text) = levels.next() {
            match self.level(text).and_then(|level| self.child(node, level)) {
                Some(child) => node = child,
                None => return 1 + levels.count(),
            }
        }
        0
    }

    /// `text` as a level, if it may be one of this tree's.
    #[inline]
    pub(crate) fn level(&self, text: &str) -> Option<Level> {
        self.long.level(text)
    }

    #[inline]
    pub(crate) fn value(&self, node: NodeId) -> Option<u32> {
        Some(self.node(node).value).filter(|&value| value != NONE)
    }

    /// The value of `#` behind the node.
    #[inline]
    pub(crate) fn value_below(&self, node: NodeId) -> Option<u32> {
        Some(self.node(node).below).filter(|&value| value != NONE)
    }

    /// The child `+`.
    #[inline]
    pub(crate) fn plus(&self, node: NodeId) -> Option<NodeId> {
        Node::link(self.node(node).plus)
    }

    #[inline]
    pub(crate) fn child(&self, node: NodeId, level: Level) -> Option<NodeId> {
        let Node { first_child, lone_child, .. } = *self.node(node);
        if first_child == NONE {
            return None;
        }
        if lone_child {
            // The next of a chain, most of which were made one after the other and lie so in memory, while the table
            // has them anywhere: it is what bounds the cost of many deep filters.
            return (self.node(NodeId(first_child)).level == level).then_some(NodeId(first_child));
        }
        let hash = self.hasher.hash_one((node.0, level));
        self.edges.find(hash, |child| self.is_edge(child, node.0, level)).map(NodeId)
    }

    /// The children a wildcard stands for.
    pub(crate) fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        self.all_children(node).filter(|&child| !self.node(child).hidden)
    }

    pub(crate) fn all_children(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let first = Node::link(self.node(node).first_child);
        std::iter::successors(first, |&child| Node::link(self.node(child).next))
    }

    /// The levels from the root to the node, with `/` between them.
    pub(crate) fn text(&self, node: NodeId) -> String {
        let mut levels: Vec<_> = self.path(node).map(|node| self.long.text(self.node(node).level)).collect();
        levels.reverse();
        levels.join("/")
    }

    /// How many levels the node is below the root.
    pub(crate) fn depth(&self, node: NodeId) -> usize {
        self.path(node).count()
    }

    /// The node of some levels, if it is there.
    pub(crate) fn find<'a>(&self, mut levels: impl Iterator<Item = &'a str>) -> Option<NodeId> {
        levels.try_fold(self.root, |node, level| self.child(node, self.level(level)?))
    }

    /// The node of some levels, made if need be.
    pub(crate) fn insert<'a>(&mut self, levels: impl Iterator<Item = &'a str>) -> NodeId {
        levels.fold(self.root, |node, level| {
            let known = self.level(level).and_then(|level| self.child(node, level));
            known.unwrap_or_else(|| self.add_child(node, level))
        })
    }

    pub(crate) fn set_value(&mut self, node: NodeId, value: u32) {
        self.nodes[node.0 as usize].value = value;
    }

    /// Sets the value of `#` behind the node.
    pub(crate) fn set_value_below(&mut self, node: NodeId, value: u32) {
        self.nodes[node.0 as usize].below = value;
    }

    /// Takes the value off a node, and every node off the tree that has no purpose without it.
    pub(crate) fn clear_value(&mut self, node: NodeId) {
        self.nodes[node.0 as usize].value = NONE;
        self.prune(node);
    }

    /// The same with the value of `#` behind the node.
    pub(crate) fn clear_value_below(&mut self, node: NodeId) {
        self.nodes[node.0 as usize].below = NONE;
        self.prune(node);
    }

    /// Whether nothing is left of what was inserted.
    #[cfg(test)]
    pub(crate) fn is_clear(&self) -> bool {
        let root = self.node(self.root);
        let links = [root.value, root.below, root.plus, root.first_child];
        self.is_empty() && self.edges.len() == 0 && links == [NONE; 4] && self.long.len() == 0
    }

    /// What a node says of its children is so.
    #[cfg(test)]
    pub(crate) fn assert_sound(&self) {
        for (number, node) in &self.nodes {
            let children: Vec<NodeId> = self.all_children(NodeId(number as u32)).collect();
            assert_eq!(node.lone_child, children.len() == 1);
            for &child in &children {
                assert_eq!(self.node(child).parent, number as u32);
                assert_eq!(self.child(NodeId(number as u32), self.node(child).level), Some(child));
            }
            let plus = children.iter().find(|&&child| self.node(child).level == PLUS);
            assert_eq!(Node::link(node.plus), plus.copied());
        }
    }

    /// The node and those above it, but for the root.
    fn path(&self, node: NodeId) -> impl Iterator<Item = NodeId> {
        let path = std::iter::successors(Some(node), |&node| Node::link(self.node(node).parent));
        path.take_while(|&node| node != self.root)
    }

    #[inline]
    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }

    #[inline]
    fn is_edge(&self, child: u32, parent: u32, level: Level) -> bool {
        let node = &self.nodes[child as usize];
        node.parent == parent && node.level == level
    }

    fn add_child(&mut self, parent: NodeId, text: &str) -> NodeId {
        let level = self.long.acquire(text);
        let hidden = parent == self.root && text.starts_with('$');
        let child = self.nodes.insert(Node::new(parent.0, level, hidden)) as u32;
        let of_parent = &mut self.nodes[parent.0 as usize];
        let first = std::mem::replace(&mut of_parent.first_child, child);
        of_parent.lone_child = first == NONE;
        if level == PLUS {
            of_parent.plus = child;
        }
        if first != NONE {
            self.nodes[first as usize].previous = child;
            self.nodes[child as usize].next = first;
        }
        self.edges.insert(self.hasher.hash_one((parent.0, level)), child);
        NodeId(child)
    }

    fn prune(&mut self, mut node: NodeId) {
        while node != self.root && self.node(node).is_idle() {
            let parent = NodeId(self.node(node).parent);
            self.remove_leaf(node);
            node = parent;
        }
    }

    fn remove_leaf(&mut self, leaf: NodeId) {
        let node = self.nodes.remove(leaf.0 as usize);
        self.edges.remove(self.hasher.hash_one((node.parent, node.level)), leaf.0);
        let of_parent = &mut self.nodes[node.parent as usize];
        if of_parent.plus == leaf.0 {
            of_parent.plus = NONE;
        }
        match Node::link(node.previous) {
            Some(previous) => self.nodes[previous.0 as usize].next = node.next,
            None => of_parent.first_child = node.next,
        }
        if let Some(next) = Node::link(node.next) {
            self.nodes[next.0 as usize].previous = node.previous;
        }
        let first = Node::link(self.node(NodeId(node.parent)).first_child);
        self.nodes[node.parent as usize].lone_child =
            first.is_some_and(|first| self.node(first).next == NONE);
        self.long.release(node.level);
        if self.is_empty() {
            self.nodes.shrink_to_fit();
        }
    }
}

impl Node {
    const fn new(parent: u32, level: Level, hidden: bool) -> Self {
        Self {
            level,
            parent,
            value: NONE,
            below: NONE,
            plus: NONE,
            first_child: NONE,
            next: NONE,
            previous: NONE,
            hidden,
            lone_child: false,
        }
    }

    /// Whether it leads to no value.
    const fn is_idle(&self) -> bool {
        self.value == NONE && self.below == NONE && self.first_child == NONE
    }

    fn link(number: u32) -> Option<NodeId> {
        (number != NONE).then_some(NodeId(number))
    }
}

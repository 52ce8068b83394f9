//! A tree of topic levels with one number at each node that has a meaning to its owner. A step down is one look-up
//! of two integers, whatever the number of siblings.

use hashbrown::HashTable;
use slab::Slab;

use super::symbols::{Symbol, Symbols};

/// A node's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NodeId(u32);

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Trie {
    pub(crate) symbols: Symbols,
    nodes: Slab<Node>,
    /// (parent, symbol) → node; the pair is in the node.
    edges: HashTable<u32>,
    root: NodeId,
    plus: Symbol,
    hash: Symbol,
}

#[derive(Debug)]
struct Node {
    parent: u32,
    symbol: u32,
    value: u32,
    first_child: u32,
    next: u32,
    previous: u32,
    /// The children `+` and `#`, which every match asks for.
    plus: u32,
    hash: u32,
}

impl Trie {
    pub(crate) fn new(secret: u64) -> Self {
        let mut symbols = Symbols::new(secret);
        let (plus, hash) = (symbols.acquire("+"), symbols.acquire("#"));
        let mut nodes = Slab::new();
        let root = NodeId(nodes.insert(Node::new(NONE, NONE)) as u32);
        Self { symbols, nodes, edges: HashTable::new(), root, plus, hash }
    }

    pub(crate) const fn root(&self) -> NodeId {
        self.root
    }

    /// Whether there is nothing below the root.
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.len() == 1
    }

    pub(crate) fn value(&self, node: NodeId) -> Option<u32> {
        Some(self.node(node).value).filter(|&value| value != NONE)
    }

    pub(crate) fn plus(&self, node: NodeId) -> Option<NodeId> {
        Node::link(self.node(node).plus)
    }

    pub(crate) fn hash(&self, node: NodeId) -> Option<NodeId> {
        Node::link(self.node(node).hash)
    }

    pub(crate) fn child(&self, node: NodeId, symbol: Symbol) -> Option<NodeId> {
        let found =
            self.edges.find(edge_hash(node.0, symbol.0), |&child| self.is_edge(child, node.0, symbol.0));
        found.map(|&child| NodeId(child))
    }

    pub(crate) fn first_child(&self, node: NodeId) -> Option<NodeId> {
        Node::link(self.node(node).first_child)
    }

    pub(crate) fn next_sibling(&self, node: NodeId) -> Option<NodeId> {
        Node::link(self.node(node).next)
    }

    pub(crate) fn parent(&self, node: NodeId) -> Option<NodeId> {
        Node::link(self.node(node).parent)
    }

    /// The text of the node's own level.
    pub(crate) fn text(&self, node: NodeId) -> &str {
        self.symbols.text(Symbol(self.node(node).symbol))
    }

    /// The node of a whole topic or filter, if it is there.
    pub(crate) fn find<'a>(&self, levels: impl Iterator<Item = &'a str>) -> Option<NodeId> {
        let mut node = self.root;
        for level in levels {
            node = self.child(node, self.symbols.get(level)?)?;
        }
        Some(node)
    }

    /// The node of a whole topic or filter, made if need be.
    pub(crate) fn insert<'a>(&mut self, levels: impl Iterator<Item = &'a str>) -> NodeId {
        let mut node = self.root;
        for level in levels {
            let known = self.symbols.get(level).and_then(|symbol| self.child(node, symbol));
            node = known.unwrap_or_else(|| self.add_child(node, level));
        }
        node
    }

    pub(crate) fn set_value(&mut self, node: NodeId, value: u32) {
        self.nodes[node.0 as usize].value = value;
    }

    /// Takes the value off a node, and every node off the tree that has no purpose without it.
    pub(crate) fn clear_value(&mut self, node: NodeId) {
        self.nodes[node.0 as usize].value = NONE;
        let mut node = node;
        while node != self.root && self.node(node).value == NONE && self.node(node).first_child == NONE {
            let parent = NodeId(self.node(node).parent);
            self.remove_leaf(node);
            node = parent;
        }
    }

    /// Whether nothing is left of what was inserted.
    #[cfg(test)]
    pub(crate) fn is_clear(&self) -> bool {
        let root = self.node(self.root);
        let links = [root.value, root.first_child, root.plus, root.hash];
        // The texts of the wildcards are kept.
        self.is_empty() && self.edges.is_empty() && links == [NONE; 4] && self.symbols.len() == 2
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }

    fn is_edge(&self, child: u32, parent: u32, symbol: u32) -> bool {
        let node = &self.nodes[child as usize];
        node.parent == parent && node.symbol == symbol
    }

    fn add_child(&mut self, parent: NodeId, level: &str) -> NodeId {
        let symbol = self.symbols.acquire(level);
        let child = self.nodes.insert(Node::new(parent.0, symbol.0)) as u32;
        let first = std::mem::replace(&mut self.nodes[parent.0 as usize].first_child, child);
        if first != NONE {
            self.nodes[first as usize].previous = child;
            self.nodes[child as usize].next = first;
        }
        self.set_wildcard_link(parent, symbol, child);
        let Self { edges, nodes, .. } = self;
        edges.insert_unique(edge_hash(parent.0, symbol.0), child, |&other| {
            let node = &nodes[other as usize];
            edge_hash(node.parent, node.symbol)
        });
        NodeId(child)
    }

    fn remove_leaf(&mut self, leaf: NodeId) {
        let node = self.nodes.remove(leaf.0 as usize);
        if let Ok(edge) = self.edges.find_entry(edge_hash(node.parent, node.symbol), |&child| child == leaf.0)
        {
            edge.remove();
        }
        match Node::link(node.previous) {
            Some(previous) => self.nodes[previous.0 as usize].next = node.next,
            None => self.nodes[node.parent as usize].first_child = node.next,
        }
        if let Some(next) = Node::link(node.next) {
            self.nodes[next.0 as usize].previous = node.previous;
        }
        self.set_wildcard_link(NodeId(node.parent), Symbol(node.symbol), NONE);
        self.symbols.release(Symbol(node.symbol));
        if self.is_empty() {
            self.nodes.shrink_to_fit();
            self.edges = HashTable::new();
        }
    }

    fn set_wildcard_link(&mut self, parent: NodeId, symbol: Symbol, child: u32) {
        let parent = &mut self.nodes[parent.0 as usize];
        if symbol == self.plus {
            parent.plus = child;
        } else if symbol == self.hash {
            parent.hash = child;
        }
    }
}

impl Node {
    const fn new(parent: u32, symbol: u32) -> Self {
        Self {
            parent,
            symbol,
            value: NONE,
            first_child: NONE,
            next: NONE,
            previous: NONE,
            plus: NONE,
            hash: NONE,
        }
    }

    fn link(number: u32) -> Option<NodeId> {
        (number != NONE).then_some(NodeId(number))
    }
}

/// Both numbers are the tree's own, handed out in order, so mixing them well is enough.
fn edge_hash(parent: u32, symbol: u32) -> u64 {
    let mixed = (u64::from(parent) << 32 | u64::from(symbol)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

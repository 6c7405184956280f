//! Values by text, cut into pieces by hash: a version that changes one value copies its piece and shares all others, however many
//! there are. Asked on the request path. Knows nothing of what the texts are.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::quality::RandomState;

/// See the module. Cloning it copies a pointer for each piece.
#[derive(Clone, Debug)]
pub(super) struct Index<V> {
    // None, or a power of two, by the first bits of the hash; in each, slots stand in the order of their hashes.
    pieces: Vec<Arc<[Slot<V>]>>,
    bits: u32,
    len: usize,
    state: RandomState,
}

#[derive(Clone, Debug)]
struct Slot<V> {
    hash: u64,
    key: Arc<str>,
    value: V,
}

/// Slots of a piece when it is made.
const PIECE: usize = 32;
/// Above which all pieces are made anew, so that a look-up and a change stay what they are.
const PIECE_MAX: usize = 4 * PIECE;

impl<V> Default for Index<V> {
    fn default() -> Self {
        Self { pieces: Vec::new(), bits: 0, len: 0, state: RandomState::default() }
    }
}

impl<V> Index<V> {
    /// How many values there are.
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of this text.
    #[inline]
    pub(super) fn get(&self, key: &str) -> Option<&V> {
        if self.len == 0 {
            return None;
        }
        let hash = self.state.hash_one(key);
        let piece = &*self.pieces[self.piece(hash)];
        let same = piece[self.first(piece, hash)..].iter().take_while(|slot| slot.hash == hash);
        same.into_iter().find(|slot| &*slot.key == key).map(|slot| &slot.value)
    }

    /// The values, in no order.
    #[cfg(test)]
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.pieces.iter().flat_map(|piece| piece.iter()).map(|slot| &slot.value)
    }

    fn piece(&self, hash: u64) -> usize {
        usize::try_from(hash.unbounded_shr(u64::BITS - self.bits)).expect("there are not more pieces than addresses")
    }

    // Where the slots of a hash begin, or would. Hashes are spread evenly, so it is near where this one would be then.
    #[inline]
    fn first(&self, piece: &[Slot<V>], hash: u64) -> usize {
        let share = u128::from(hash.unbounded_shl(self.bits));
        let mut at = ((share * piece.len() as u128) >> u64::BITS) as usize;
        while at > 0 && piece[at - 1].hash >= hash {
            at -= 1;
        }
        while piece.get(at).is_some_and(|slot| slot.hash < hash) {
            at += 1;
        }
        at
    }
}

impl<V: Clone> Index<V> {
    /// The index of these, each under a text of its own.
    pub(super) fn of(all: impl Iterator<Item = (Arc<str>, V)>) -> Self {
        let state = RandomState::default();
        let slots = all.map(|(key, value)| Slot { hash: state.hash_one(&*key), key, value }).collect();
        Self::cut(slots, state)
    }

    /// Puts a value in; one that was there under this text is replaced.
    pub(super) fn set(&mut self, key: &str, value: V) {
        if self.pieces.is_empty() {
            *self = Self::of([(Arc::from(key), value)].into_iter());
            return;
        }
        let (hash, at, known) = self.place(key);
        let piece = &mut self.pieces[at];
        match known {
            Ok(found) => match Arc::get_mut(piece) {
                Some(own) => own[found].value = value,
                None => {
                    let slot = |(at, slot): (usize, &Slot<V>)| match at == found {
                        true => Slot { value: value.clone(), ..slot.clone() },
                        false => slot.clone(),
                    };
                    *piece = piece.iter().enumerate().map(slot).collect();
                }
            },
            Err(next) => {
                let slot = Slot { hash, key: key.into(), value };
                *piece = piece[..next].iter().cloned().chain([slot]).chain(piece[next..].iter().cloned()).collect();
                self.len += 1;
                if piece.len() > PIECE_MAX {
                    let all = self.pieces.iter().flat_map(|piece| piece.iter().cloned()).collect();
                    *self = Self::cut(all, self.state.clone());
                }
            }
        }
    }

    /// The value of a text, in a piece of this version's own; a default one is put in where there was none.
    pub(super) fn own(&mut self, key: &str) -> &mut V
    where
        V: Default,
    {
        if self.get(key).is_none() {
            self.set(key, V::default());
        }
        let (_, at, known) = self.place(key);
        let piece = &mut self.pieces[at];
        if Arc::get_mut(piece).is_none() {
            *piece = piece.iter().cloned().collect();
        }
        let own = Arc::get_mut(piece).expect("nobody else has a copy that was made just now");
        &mut own[known.expect("it is there by now")].value
    }

    /// Takes a value out.
    pub(super) fn remove(&mut self, key: &str) {
        if self.pieces.is_empty() {
            return;
        }
        if let (_, at, Ok(found)) = self.place(key) {
            let piece = &mut self.pieces[at];
            *piece = piece[..found].iter().chain(&piece[found + 1..]).cloned().collect();
            self.len -= 1;
        }
    }

    // The hash of a text, its piece, and its place there: of the slot it has, or of the one that it would come before.
    fn place(&self, key: &str) -> (u64, usize, Result<usize, usize>) {
        let hash = self.state.hash_one(key);
        let at = self.piece(hash);
        let piece = &*self.pieces[at];
        let first = self.first(piece, hash);
        let same = piece[first..].iter().take_while(|slot| slot.hash == hash);
        let known = same.into_iter().position(|slot| &*slot.key == key);
        (hash, at, known.map_or(Err(first), |known| Ok(first + known)))
    }

    fn cut(mut slots: Vec<Slot<V>>, state: RandomState) -> Self {
        let len = slots.len();
        if len == 0 {
            return Self { state, ..Self::default() };
        }
        slots.sort_unstable_by_key(|slot| slot.hash);
        let count = len.div_ceil(PIECE).next_power_of_two();
        let bits = count.trailing_zeros();
        let mut index = Self { pieces: Vec::with_capacity(count), bits, len, state };
        let mut slots = slots.into_iter().peekable();
        for at in 0..count {
            let own = std::iter::from_fn(|| slots.next_if(|slot| index.piece(slot.hash) == at));
            let own: Vec<_> = own.collect();
            index.pieces.push(own.into());
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn text(number: usize) -> String {
        format!("/{number}")
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_versions_do_not_touch_each_other(
            first in 0..400_usize, changes in vec((0..600_usize, any::<bool>()), 0..400),
        ) {
            let mut index = Index::of((0..first).map(|number| (Arc::from(text(number)), number)));
            let mut model: HashMap<usize, usize> = (0..first).map(|number| (number, number)).collect();
            let (before, known) = (index.clone(), model.clone());
            for (turn, (number, sets)) in changes.into_iter().enumerate() {
                if sets {
                    index.set(&text(number), turn);
                    model.insert(number, turn);
                } else {
                    index.remove(&text(number));
                    model.remove(&number);
                }
            }
            for (index, model) in [(&index, &model), (&before, &known)] {
                prop_assert_eq!((index.len(), index.is_empty()), (model.len(), model.is_empty()));
                for number in 0..600 {
                    prop_assert_eq!(index.get(&text(number)), model.get(&number));
                }
                let (mut own, mut all): (Vec<_>, Vec<_>) = (index.values().collect(), model.values().collect());
                own.sort();
                all.sort();
                prop_assert_eq!(own, all);
            }
        }
    }

    #[test]
    fn a_change_copies_its_piece_alone() {
        let before = Index::of((0..10_000).map(|number| (Arc::from(text(number)), number)));
        let mut after = before.clone();
        after.set(&text(77), 1);
        let copied = before.pieces.iter().zip(&after.pieces).filter(|(one, other)| !Arc::ptr_eq(one, other)).count();
        assert_eq!((before.pieces.len(), copied), (512, 1));
        assert!(before.pieces.iter().all(|piece| piece.len() <= PIECE_MAX));
    }

    #[test]
    fn it_grows_from_nothing() {
        let mut index = Index::default();
        index.remove("nothing");
        (0..5_000).for_each(|number| index.set(&text(number), number));
        assert!((0..5_000).all(|number| index.get(&text(number)) == Some(&number)));
        assert!(index.pieces.iter().all(|piece| piece.len() <= PIECE_MAX));
    }
}

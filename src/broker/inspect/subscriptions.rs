//! Lists of subscriptions: session by session, within a session by the number of the filter, which stays as long as the
//! subscription does.

use std::ops::ControlFlow;

use super::super::Broker;
use super::super::mount::{client_id_of, mount_of, unmounted};
use super::glob::Glob;
use super::page::{Budget, Listing, Page};
use super::sessions::wants_name;
use crate::router::{FilterId, SessionIndex};
use crate::session::{Session, Subscription};

/// Which subscriptions are wanted: those to which all of it applies.
#[derive(Debug, Clone, Default)]
pub struct SubscriptionSelection {
    /// Pattern of the Client Identifier.
    pub client_id: Option<Glob>,
    /// The filter as the broker has it: with the mountpoint; of a Shared Subscription the part behind the name.
    pub filter: Option<Box<str>>,
    /// Share Name.
    pub share: Option<Box<str>>,
}

/// Where a list of subscriptions goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubscriptionPlace {
    /// Place of the session.
    pub session: u32,
    /// The subscription before: whether it is shared, number of its filter. `None`: the session's first is next.
    pub after: Option<(bool, u32)>,
}

/// A subscription.
#[derive(Debug, Clone)]
pub struct SubscriptionRow {
    /// Client Identifier.
    pub client_id: Box<str>,
    /// Its mountpoint; empty: it has none.
    pub mountpoint: Box<str>,
    /// The filter as its client says it, without `$share/{ShareName}/`.
    pub filter: Box<str>,
    /// Share Name.
    pub share: Option<Box<str>>,
    /// Maximum QoS.
    pub qos: u8,
    /// No Local.
    pub no_local: bool,
    /// Retain As Published.
    pub retain_as_published: bool,
    /// Subscription Identifier; 0: none.
    pub subscription_id: u32,
}

impl SubscriptionSelection {
    /// Whether a filter and its Share Name are wanted.
    fn wants(&self, filter: &str, share: Option<&str>) -> bool {
        self.filter.as_deref().is_none_or(|wanted| wanted == filter)
            && self.share.as_deref().is_none_or(|wanted| share == Some(wanted))
    }
}

impl Broker {
    pub(super) fn list_subscriptions(
        &self,
        listing: &Listing<SubscriptionSelection, SubscriptionPlace>,
    ) -> Page<SubscriptionRow, SubscriptionPlace> {
        let from = listing.from.unwrap_or(SubscriptionPlace { session: 0, after: None });
        let selection = &listing.selection;
        let mut items = Vec::new();
        let mut stopped = None;
        let next = self.each_session(from.session, listing.limit, |place, session, budget| {
            if session.subscriptions.is_empty()
                || !wants_name(selection.client_id.as_ref(), client_id_of(&session.client_id), budget)
            {
                return ControlFlow::Continue(());
            }
            let after = from.after.filter(|_| place == from.session);
            stopped = self.list_of_session(place, session, after, selection, budget, &mut items);
            if stopped.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let next = next.map(|session| SubscriptionPlace { session, after: stopped });
        Page { items, next }
    }

    /// The wanted subscriptions of a session behind `after`; the last one looked at, if there are more.
    fn list_of_session(
        &self,
        place: u32,
        session: &Session,
        after: Option<(bool, u32)>,
        selection: &SubscriptionSelection,
        budget: &mut Budget,
        items: &mut Vec<SubscriptionRow>,
    ) -> Option<(bool, u32)> {
        let mut last = after;
        for subscription in session.subscriptions.iter_after(after) {
            // The first one always: a list that goes nowhere would never end.
            if budget.is_spent() && last != after {
                return last;
            }
            budget.spend(1);
            last = Some((subscription.shared, subscription.filter));
            if self.is_selected(subscription, selection)
                && let Some(row) = self.subscription_row(place, session, subscription)
            {
                budget.spend_item();
                items.push(row);
            }
        }
        None
    }

    fn is_selected(&self, subscription: &Subscription, selection: &SubscriptionSelection) -> bool {
        if selection.filter.is_none() && selection.share.is_none() {
            return true;
        }
        if subscription.shared {
            let share = self.memberships.share(subscription.filter);
            return share.is_some_and(|(share, _)| selection.wants(&share.filter, Some(&share.name)));
        }
        selection.share.is_none() && selection.wants(self.router.filter(FilterId(subscription.filter)), None)
    }

    pub(super) fn subscription_row(
        &self,
        place: u32,
        session: &Session,
        subscription: &Subscription,
    ) -> Option<SubscriptionRow> {
        let mountpoint = mount_of(&session.client_id);
        let (filter, share, options) = if subscription.shared {
            let (share, options) = self.memberships.share(subscription.filter)?;
            (&*share.filter, Some(share.name.clone()), options)
        } else {
            let filter = FilterId(subscription.filter);
            (self.router.filter(filter), None, self.router.options(filter, SessionIndex(place))?)
        };
        Some(SubscriptionRow {
            client_id: client_id_of(&session.client_id).into(),
            mountpoint: mountpoint.into(),
            filter: unmounted(filter, mountpoint.len() as u16).into(),
            share,
            qos: options.qos(),
            no_local: options.no_local(),
            retain_as_published: options.retain_as_published(),
            subscription_id: subscription.id,
        })
    }
}

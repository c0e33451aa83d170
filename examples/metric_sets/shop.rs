//! A shop: what customers do, and what they pay.

use campanile::metrics::{Counter, Family, Gauge, Histogram, InFlight, Timer};
use campanile::{Labels, MetricSet};
use serde::Deserialize;

use crate::Endpoint;

#[derive(MetricSet)]
pub(crate) struct ShopMetrics {
    /// Orders that were placed.
    orders_created: Counter,
    /// Orders that were paid for.
    orders_completed: Counter,
    /// Orders that were not paid for.
    orders_cancelled: Counter,
    /// Money taken, in minor units such as cents.
    #[metric(unit = "minor_units")]
    revenue: Family<Currency, Counter>,
    /// Customers who have registered.
    customer_registrations: Counter,
    /// Views of a product's page.
    product_views: Family<Product, Counter>,
    /// Carts that were left.
    cart_abandonment: Counter,
    /// What happened to the accounts of users.
    business_events: Family<EventType, Counter>,
    /// Users whose orders are in progress.
    active_users: Gauge,
    /// Requests that are in progress.
    active_connections: Gauge,
    /// Time in which the API responded.
    #[metric(unit = "seconds")]
    api_response_time: Family<Endpoint, Histogram>,
}

#[derive(Clone, Copy, Deserialize, Labels)]
#[serde(rename_all = "UPPERCASE")]
enum Currency {
    #[label(value = "EUR")]
    Eur,
    #[label(value = "USD")]
    Usd,
}

/// There is no list of all products, so the registry's limit applies. Products above the limit are
/// counted together, as `_other_`.
#[derive(Labels)]
struct Product {
    product_id: u64,
}

#[derive(Labels)]
enum EventType {
    UserCreated,
    UserRetrieved,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    currency: Currency,
    /// In minor units.
    pub(crate) amount: u64,
    #[serde(default)]
    is_new_customer: bool,
}

impl ShopMetrics {
    /// Counts and times a request for as long as what is returned lives.
    pub(crate) fn visit(&self, endpoint: Endpoint) -> (InFlight, Timer) {
        let timer = self.api_response_time.with(endpoint).start();
        (self.active_connections.in_flight(), timer)
    }

    /// Counts a user for as long as what is returned lives.
    pub(crate) fn user(&self) -> InFlight {
        self.active_users.in_flight()
    }

    pub(crate) fn ordered(&self, order: &Order, is_paid: bool) {
        self.orders_created.increment(1);
        let event = if order.is_new_customer {
            self.customer_registrations.increment(1);
            EventType::UserCreated
        } else {
            EventType::UserRetrieved
        };
        self.business_events.with(event).increment(1);
        if is_paid {
            self.orders_completed.increment(1);
            self.revenue.with(order.currency).increment(order.amount);
        } else {
            self.orders_cancelled.increment(1);
        }
    }

    pub(crate) fn product_viewed(&self, product_id: u64) {
        self.product_views.with(Product { product_id }).increment(1);
    }

    pub(crate) fn cart_left(&self) {
        self.cart_abandonment.increment(1);
    }
}

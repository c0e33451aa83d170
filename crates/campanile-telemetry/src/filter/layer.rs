//! [`LogFilter`] as the filter of one layer and as a layer.

use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter, Layer};
use tracing_subscriber::registry::LookupSpan;

use super::LogFilter;

/// Passes span callbacks to the directives that name spans.
macro_rules! delegate_spans {
    ($($method:ident($($argument:ident: $type:ty),*);)+) => {
        $(
            fn $method(&self, $($argument: $type,)* context: Context<'_, S>) {
                if let Some(filter) = self.of_spans() {
                    filter.$method($($argument,)* context);
                }
            }
        )+
    };
    () => {
        delegate_spans! {
            on_new_span(attributes: &Attributes<'_>, id: &Id);
            on_record(id: &Id, values: &Record<'_>);
            on_enter(id: &Id);
            on_exit(id: &Id);
            on_close(id: Id);
        }
    };
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for LogFilter {
    fn enabled(&self, metadata: &Metadata<'_>, context: &Context<'_, S>) -> bool {
        self.is_enabled(metadata, context)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        // It is called before any event.
        self.mark_used();
        self.0.interest(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level()
    }

    delegate_spans!();
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogFilter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        self.0.interest(metadata)
    }

    fn on_layer(&mut self, _: &mut S) {
        self.mark_used();
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        self.is_enabled(metadata, &context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        self.0.max_level()
    }

    delegate_spans!();
}

"""One file a part of the contract: jobs, events, images, catalog, health; and the pages."""

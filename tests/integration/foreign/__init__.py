"""Programs that run in environments of other people's packages; tests start them."""

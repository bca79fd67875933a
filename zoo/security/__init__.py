"""What may come in and what may go out: strangers' files are judged before anything loads them."""

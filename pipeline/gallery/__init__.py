"""A page to look at results: pictures by styles, a slider between before and after, what each was made from."""

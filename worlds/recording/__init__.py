"""Recordings for people: episodes as films and filmstrips, with what was seen, done and broken."""

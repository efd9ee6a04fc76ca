package sim

import "time"

// Shrink takes steps out of a history as long as it fails all the same: halves first, then smaller and
// smaller parts, until no single step can go or the time is over.
func Shrink(h History, limit time.Duration, fails func(History) bool) History {
	deadline := time.Now().Add(limit)
	for size := len(h) / 2; size > 0; {
		shorter := false
		for from := 0; from+size <= len(h) && time.Now().Before(deadline); {
			rest := append(append(History{}, h[:from]...), h[from+size:]...)
			if fails(rest) {
				h, shorter = rest, true
			} else {
				from += size
			}
		}
		if size > 1 || !shorter {
			size /= 2
		}
		if time.Now().After(deadline) {
			break
		}
	}
	return h
}

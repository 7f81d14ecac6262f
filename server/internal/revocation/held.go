package revocation

// Held are the lists in place, which somebody else may go by, too.
func (c *Checker) Held() (list []*List) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, s := range c.sources {
		if s.list != nil {
			list = append(list, s.list)
		}
	}
	return list
}

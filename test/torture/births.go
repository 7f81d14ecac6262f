package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"
)

const (
	killsForBirth = 40 // of a run bring one birth a phase
	birthTakes    = 400 * time.Millisecond
	birthPoints   = 12 // renamed files, or commits, of a first start
)

// births lets servers be killed while they start for the very first time: secrets,
// schema, authorities and the fleet's own documents are made then. On PostgreSQL
// some of the commits are cut too. The next start must find its way. REL-07
func (s *site) births(kills int, random *rand.Rand) error {
	for i := range max(2, kills/killsForBirth) {
		if err := s.birth(i, random); err != nil {
			return fmt.Errorf("birth %d: %w", i, err)
		}
	}
	return nil
}

func (s *site) birth(i int, random *rand.Rand) error {
	name, url := fmt.Sprintf("birth-%d", i), ""
	if s.postgres != nil {
		database := fmt.Sprintf("birth_%d", i)
		if err := s.postgres.create(database); err != nil {
			return err
		}
		url = s.postgres.url(s.cutter.port(), database)
		s.cutter.cutOneOf(birthPoints)
	}
	data := filepath.Join(s.dir, name)
	n := s.newNode(name, data, url)
	f := fault{Start: time.Duration(random.Int64N(int64(birthTakes)))}
	if point := startPoints[random.IntN(len(startPoints))]; random.IntN(2) == 0 {
		f.Point, f.Count = point.name, 1+random.IntN(birthPoints)
	}
	// Twice: the second time on what the first has left.
	for range 2 {
		if err := s.endStart(n.process, f); err != nil {
			return err
		}
		s.figures.killed(toServer, "while it is founded")
		f.Start = time.Duration(random.Int64N(int64(birthTakes)))
	}
	if s.cutter != nil {
		s.cutter.cutOneOf(0)
	}
	at := s.since()
	if err := n.start(); err != nil {
		return err
	}
	if err := n.waitReady(readyWithin); err != nil {
		return err
	}
	s.figures.back("founding after it was broken off", s.since()-at)
	n.kill()
	for _, t := range n.troubles() {
		s.figures.failf("%s", t)
	}
	return os.RemoveAll(data)
}

package main

import (
	"bytes"
	"os"
	"time"
)

// tick is what the system counts a process's time in, whatever its clock.
const tick = 10 * time.Millisecond

// cpuTime is what a process has used up, from its /proc/PID/stat.
func (p *processes) cpuTime(stat *os.File) time.Duration {
	n, _ := stat.ReadAt(p.buffer[:], 0) // as in read: of a process that ended there is nothing
	return parseCPUTime(p.buffer[:n])
}

// parseCPUTime adds user and system time, the 12th and 13th field after the name, which may have anything in it.
func parseCPUTime(text []byte) time.Duration {
	at := bytes.LastIndexByte(text, ')')
	if at < 0 {
		return 0
	}
	fields := bytes.Fields(text[at+1:])
	if len(fields) < 13 {
		return 0
	}
	return time.Duration(leadingNumber(fields[11])+leadingNumber(fields[12])) * tick
}

// used adds what the processes used until now, or takes what they had used before away.
func (p *processes) used(sign time.Duration) {
	for _, process := range p.backends {
		p.serverTime += sign * p.cpuTime(process.stat)
	}
	subject := p.program
	if p.front != nil {
		subject = p.front
	}
	if subject != nil {
		p.goTime += sign * p.cpuTime(subject.stat)
	}
}

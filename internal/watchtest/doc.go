// Package watchtest has thousands of devices watch, from a process of their own.
package watchtest

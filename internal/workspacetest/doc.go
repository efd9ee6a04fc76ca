// Package workspacetest holds devices of the workspace example, and what its policies show, against one
// plain query for each user, whatever happens to the rows and to who may see them.
package workspacetest
